import { createHash } from "node:crypto";
import { median, type Pair, rangeOf } from "../harness/paired.ts";

const BATCHES = 9;
/** Kernels tell a thread's time in steps of up to 4 ms: a batch is many of them. */
const BATCH_MS = 100;
/** Of waits, of which some are interrupted: enough for a median. */
const WAIT_BATCH_MS = 200;
/** What is measured is what has run for a while: until then it is compiled, in several stages. */
const WARM_MS = 400;

/**
 * What one call costs, in microseconds of this thread's processor time, which another process on the
 * machine does not take part in: the median over batches of at
 * least 100 ms each, less what the empty loop costs. `work` returns something that depends on what it did,
 * so that nothing of it can be left out by the compiler.
 */
export function costOf(work: (i: number) => unknown): number {
  return costsOf({ work }).work.median;
}

export type Cost = {
  readonly median: number;
  readonly least: number;
  readonly most: number;
  /** In their order: those of things that were measured in turn are neighbours in time. */
  readonly batches: readonly number[];
};

/** A cost beside that of SHA-256 over 1 KiB, batch by batch in turn: what a machine's minute is told by. */
export type CostBeside = { readonly us: Cost; readonly pairs: readonly Pair[] };

const HASHED = Buffer.alloc(1_024, 1);

export function hashOf1KiB(): number {
  return createHash("sha256").update(HASHED).digest()[0] as number;
}

/** @param per How many of what is told there are in a call: KiB, deltas. */
export function costBeside(work: (i: number) => unknown, per = 1): CostBeside {
  const { own, hash } = costsOf({ own: work, hash: hashOf1KiB });
  return besideHash(own.batches, hash.batches, per);
}

export function besideHash(own: readonly number[], hash: readonly number[], per = 1): CostBeside {
  const batches = own.map((us) => us / per);
  const pairs = batches.map((subject, i) => ({ subject, baseline: hash[i] ?? Number.NaN }));
  return { us: costIn(batches), pairs };
}

function costIn(batches: readonly number[]): Cost {
  return { median: median(batches), ...rangeOf(batches), batches };
}

/** The same of several things, batch by batch in turn, so that each had the same minute. */
export function costsOf<N extends string>(
  works: Readonly<Record<N, (i: number) => unknown>>,
): Readonly<Record<N, Cost>> {
  const each = Object.entries<(i: number) => unknown>(works).map(([name, work]) => ({
    name,
    work,
    calls: callsPerBatch(work),
    batches: [] as number[],
  }));
  for (let batch = 0; batch < BATCHES; batch += 1) {
    for (const { work, calls, batches } of each) {
      const ns = batchNs(work, calls) - batchNs(nothing, calls);
      batches.push(Math.max(0, ns) / calls / 1_000);
    }
  }
  const costs = each.map(({ name, batches }) => [name, costIn(batches)] as const);
  return Object.fromEntries(costs) as Record<N, Cost>;
}

/** One after the other, in microseconds each. */
export type Wait = {
  /** Medians over batches of the clock's median in each. */
  readonly median: number;
  readonly least: number;
  readonly most: number;
  /** Processor time of the thread that waits: what nothing else of it can run in. */
  readonly blocked: number;
};

/** What it takes by the clock. Other work on the machine takes part in it. */
export async function waitOf(work: () => Promise<void>): Promise<Wait> {
  await waitBatch(work, WARM_MS);
  const batches: Awaited<ReturnType<typeof waitBatch>>[] = [];
  while (batches.length < BATCHES) batches.push(await waitBatch(work, WAIT_BATCH_MS));
  const waited = batches.map(({ wait }) => wait);
  return {
    median: median(waited),
    ...rangeOf(waited),
    blocked: median(batches.map((of) => of.blocked)),
  };
}

async function waitBatch(work: () => Promise<void>, leastMs: number) {
  const before = process.threadCpuUsage();
  const waits: number[] = [];
  for (const end = performance.now() + leastMs; performance.now() < end; ) {
    const begun = performance.now();
    await work();
    waits.push((performance.now() - begun) * 1_000);
  }
  const { user, system } = process.threadCpuUsage(before);
  return { wait: median(waits), blocked: (user + system) / waits.length };
}

let sink = 0;

/** Processor time of this thread for so many calls, nanoseconds. */
export function batchNs(work: (i: number) => unknown, calls: number): number {
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
