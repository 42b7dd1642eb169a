import { median } from "../harness/paired.ts";

const BATCHES = 15;
const BATCH_MS = 20;

/**
 * What one call costs, in microseconds of this thread's processor time, which another process on the
 * machine does not take part in: the median over batches of some 20 ms each, less what the empty loop costs. `work` returns something that depends on what it did, so that nothing of it can be
 * left out by the compiler.
 */
export function costOf(work: (i: number) => unknown): number {
  const calls = callsPerBatch(work);
  const batches = Array.from(
    { length: BATCHES },
    () => batchNs(work, calls) - batchNs(nothing, calls),
  );
  return Math.max(0, median(batches)) / calls / 1_000;
}

let sink = 0;

function batchNs(work: (i: number) => unknown, calls: number): number {
  const before = process.threadCpuUsage();
  for (let i = 0; i < calls; i += 1) if (work(i) === sink) sink += 1;
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) * 1_000;
}

/** Doubles until a batch takes long enough; that also warms the code up. */
function callsPerBatch(work: (i: number) => unknown): number {
  for (let calls = 16; ; calls *= 2) {
    if (batchNs(work, calls) >= BATCH_MS * 1e6) return calls;
  }
}

function nothing(i: number): number {
  return -i;
}
