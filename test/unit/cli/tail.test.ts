import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runHere } from "../../support/run-here.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { buildLog, entriesOf, recordsOf } from "../audit/sample-log.ts";

const SIZES = { "acme/node-7/e1": 300, "acme/node-7/e2": 5, "acme/node-8/e9": 2 };
const folder = tempDir();

/** Two logs of one node, of which the second followed the first, and one of another node. */
beforeAll(() => {
  for (const [origin, size] of Object.entries(SIZES)) {
    for (const [path, bytes] of buildLog(entriesOf(recordsOf(size))).files) {
      const file = join(folder.path, origin, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, bytes);
    }
  }
});
afterAll(() => folder[Symbol.dispose]());

async function tail(...words: string[]) {
  const all = [
    "audit",
    "tail",
    "--offline",
    folder.path,
    "--json",
    "--home",
    folder.path,
    ...words,
  ];
  const { code, stdout, stderr } = await runHere(...all);
  const lines = stdout.split("\n").slice(0, -1);
  return { code, stderr, seqs: lines.map((line) => (JSON.parse(line) as { seq: number }).seq) };
}

describe("whoever reads on from a leaf", () => {
  test("of a log that was ended goes on with the one that followed, and with no other node's", async () => {
    expect(await tail("--from", "1/298")).toMatchObject({
      code: 0,
      seqs: [298, 299, 0, 1, 2, 3, 4],
    });
    expect(await tail("--from", "1/300")).toMatchObject({ code: 0, seqs: [0, 1, 2, 3, 4] });
    expect(await tail("--from", "2/4")).toMatchObject({ code: 0, seqs: [4] });
  });

  test("that is not there is told so", async () => {
    expect(await tail("--from", "1/301")).toMatchObject({ code: 1, seqs: [] });
    expect(await tail("--from", "3/0")).toMatchObject({ code: 2, seqs: [] });
    expect(await tail("--from", "1/x")).toMatchObject({ code: 2, seqs: [] });
  });
});
