import type { Wish } from "../fixtures/upstream.ts";
import { allowedLoad } from "./allowed-load.ts";
import { cpuMicros } from "./cpu-time.ts";

export type RequestCost = {
  /** Processor time of the whole process, all its threads, microseconds. */
  readonly cpuMicrosPerRequest: number;
  readonly requests: number;
};

/** What a process that serves at `origin` uses for each request that it answers within so many milliseconds. */
export async function requestCost(of: {
  readonly origin: string;
  readonly pid: number;
  readonly key: string;
  readonly wish: Wish;
  readonly ms: number;
}): Promise<RequestCost> {
  const before = cpuMicros(of.pid);
  const requests = await allowedLoad(of);
  return { cpuMicrosPerRequest: (cpuMicros(of.pid) - before) / requests, requests };
}
