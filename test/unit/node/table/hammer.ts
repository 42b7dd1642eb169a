import { parentPort, workerData } from "node:worker_threads";
import { ROW_INT } from "../../../../node/table/layout.ts";
import { release, reserve, settle } from "../../../../node/table/reserve.ts";
import { pin, type RowRef, rowInt, unpin } from "../../../../node/table/rows.ts";
import { openTable } from "../../../../node/table/table.ts";

/** A data loop that does nothing but reserve, settle and release on a few rows. */
const { buffer, loop, refs, rounds } = workerData as {
  buffer: SharedArrayBuffer;
  loop: number;
  refs: readonly RowRef[];
  rounds: number;
};

const table = openTable(buffer);
const spent = { usd: 0n, tokens: 0n, calls: 0n, overrun: 0n, uncovered: 0n };
let seed = loop * 7919 + 1;
let won = 0;
let negative = 0;
let strayed = 0;
for (let i = 0; i < rounds; i++) {
  const ref = refs[draw(refs.length)] as RowRef;
  if (!pin(table, loop, ref)) continue;
  if (!servesGeneration(ref)) strayed++;
  const cost = {
    usdMicros: BigInt(draw(60)),
    tokens: BigInt(draw(60)),
    calls: BigInt(draw(2)),
  };
  const charges = { cost, overrunMicros: BigInt(draw(6)), buckets: [] };
  const result = reserve(table, ref.row, charges, 1n);
  // Up to the last balance: behind it lie spent proofs, which nobody here writes.
  for (const cell of table.longs.subarray(0, table.layout.overrunAt + 1)) {
    if (cell < 0n) negative++;
  }
  if ("taken" in result) {
    won++;
    if (draw(4) === 0) {
      release(table, ref.row, { charges, taken: result.taken });
    } else {
      const part = BigInt(draw(5));
      const used = {
        usdMicros: (cost.usdMicros * part) / 3n,
        tokens: (cost.tokens * part) / 4n,
        calls: cost.calls,
      };
      const overrunSpent = used.usdMicros > cost.usdMicros ? used.usdMicros - cost.usdMicros : 0n;
      const rest = settle(table, ref.row, {
        held: result.taken,
        spent: used,
        overrunHeldMicros: charges.overrunMicros,
        overrunSpentMicros: overrunSpent,
      });
      spent.usd += used.usdMicros - overrunSpent - rest.usdMicros;
      spent.tokens += used.tokens - rest.tokens;
      spent.calls += used.calls - rest.calls;
      spent.overrun += overrunSpent - rest.overrunMicros;
      spent.uncovered += rest.overrunMicros;
    }
  }
  if (!servesGeneration(ref)) strayed++;
  unpin(table, loop, ref.row);
}
parentPort?.postMessage({ spent, won, negative, strayed });

/** The test allots each generation of a row under a team cell of its own. */
function servesGeneration(ref: RowRef): boolean {
  const cell = Atomics.load(table.ints, rowInt(table, ref.row) + ROW_INT.teamCell);
  return cell === ref.generation + 1;
}

function draw(below: number): number {
  seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
  return (seed >>> 8) % below;
}
