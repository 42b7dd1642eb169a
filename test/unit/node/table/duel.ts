import { parentPort, workerData } from "node:worker_threads";
import { release, reserve } from "../../../../node/table/reserve.ts";
import { openTable } from "../../../../node/table/table.ts";

/** Takes all there is, over and over; only one thread at a time can have it. */
const { buffer, rounds } = workerData as { buffer: SharedArrayBuffer; rounds: number };
const table = openTable(buffer);
const charges = {
  cost: { usdMicros: 10n, tokens: 0n, calls: 0n },
  overrunMicros: 0n,
  buckets: [],
};
/** A cell that nothing else uses: how many threads hold the money now. */
const holders = table.longs.length - 1;
let won = 0;
let shared = 0;
for (let i = 0; i < rounds; i++) {
  const result = reserve(table, 0, charges, 0n);
  if (!("taken" in result)) continue;
  won++;
  if (Atomics.add(table.longs, holders, 1n) !== 0n) shared++;
  Atomics.sub(table.longs, holders, 1n);
  release(table, 0, { charges, taken: result.taken });
}
parentPort?.postMessage({ won, shared });
