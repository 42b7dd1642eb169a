import { createHash } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";
import { spendProof, takeProofShare } from "../../../../node/table/proof-cells.ts";
import { openTable } from "../../../../node/table/table.ts";

// A loop that is shown every proof; says how many it took, and how many shares it was given.

type Data = {
  readonly buffer: SharedArrayBuffer;
  readonly count: number;
  readonly most: number;
};

const { buffer, count, most } = workerData as Data;
const table = openTable(buffer);
let spent = 0;
let shares = 0;
for (let no = 0; no < count; no++) {
  if (takeProofShare(table, 0, { now: 1, most })) shares += 1;
  const sha256 = createHash("sha256").update(String(no)).digest();
  if (spendProof(table, sha256, { epoch: 1, now: 1 }) === "spent") spent += 1;
}
parentPort?.postMessage({ spent, shares });
