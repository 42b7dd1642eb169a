import type { Wish } from "../fixtures/upstream.ts";
import { allowedLoad } from "../harness/allowed-load.ts";
import { Times } from "../harness/histogram.ts";
import { treeCpuMicros } from "../harness/process-tree.ts";
import type { Target } from "./target.ts";

export type SliceMs = {
  /** With all connections asking at once: what it costs, and how much it carries. */
  readonly busy: number;
  /** With one request at a time: how much later an answer is. */
  readonly alone: number;
};

/** What one target did in one slice of time. */
export type Slice = {
  readonly perSecond: number;
  /** Processor time per request, all processes of its tree. 0: not looked at. */
  readonly cpuMicros: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
};

/**
 * Asks busily, then one at a time. Times are taken from the second alone: in the first, eight
 * requests wait for one another, and a time would mostly say how many they are.
 */
export async function measureTarget(target: Target, wish: Wish, ms: SliceMs): Promise<Slice> {
  const cpuBefore = cpuOf(target);
  const startedNs = process.hrtime.bigint();
  const requests = await allowedLoad({ ...target, wish, ms: ms.busy });
  const seconds = Number(process.hrtime.bigint() - startedNs) / 1e9;
  const cpuMicros = (cpuOf(target) - cpuBefore) / requests;
  const times = new Times();
  const onTook = (ns: bigint): void => times.add(ns);
  await allowedLoad({ ...target, wish, ms: ms.alone, connections: 1, onTook });
  return {
    perSecond: requests / seconds,
    cpuMicros,
    p50Ms: times.percentileMs(50),
    p99Ms: times.percentileMs(99),
  };
}

function cpuOf({ pid }: Target): number {
  return pid === undefined ? 0 : treeCpuMicros(pid);
}
