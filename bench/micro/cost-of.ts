import { median } from "../harness/paired.ts";

const BATCHES = 9;
/** Kernels tell a thread's time in steps of up to 4 ms: a batch is many of them. */
const BATCH_MS = 100;
/** What is measured is what has run for a while: until then it is compiled, in several stages. */
const WARM_MS = 400;

/**
 * What one call costs, in microseconds of this thread's processor time, which another process on the
 * machine does not take part in: the median over batches of at
 * least 100 ms each, less what the empty loop costs. `work` returns something that depends on what it did,
 * so that nothing of it can be left out by the compiler.
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

/** Runs it until it is warm, then doubles until a batch takes long enough. */
function callsPerBatch(work: (i: number) => unknown): number {
  for (let warmNs = 0; warmNs < WARM_MS * 1e6; ) warmNs += batchNs(work, 16);
  for (let calls = 16; ; calls *= 2) {
    if (batchNs(work, calls) >= BATCH_MS * 1e6) return calls;
  }
}

function nothing(i: number): number {
  return -i;
}
