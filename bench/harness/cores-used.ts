import { readFileSync } from "node:fs";
import { cpuMicros, TICKS_PER_SECOND } from "./cpu-time.ts";
import { threadMicros } from "./thread-time.ts";

/** Processors that were at work, on average over a time. */
export type CoresUsed = {
  /** By the process that is measured. */
  readonly node: number;
  /** By this process. */
  readonly generator: number;
  /** Of the process that is measured, by name of its threads. */
  readonly threads: ReadonlyMap<string, number>;
  /** By everything else on the machine: what neither of them could have. */
  readonly others: number;
};

/** Begins a time; the function that is returned ends it. */
export function coresUsed(pid: number): () => CoresUsed {
  const startedMs = performance.now();
  const node = cpuMicros(pid);
  const threads = threadMicros(pid);
  const own = process.cpuUsage();
  const all = machineMicros();
  return () => {
    const tookUs = (performance.now() - startedMs) * 1_000;
    const { user, system } = process.cpuUsage(own);
    const nodeUs = cpuMicros(pid) - node;
    const othersUs = machineMicros() - all - nodeUs - user - system;
    const shares = [...threadMicros(pid)].map(
      ([name, us]) => [name, (us - (threads.get(name) ?? 0)) / tookUs] as const,
    );
    return {
      node: nodeUs / tookUs,
      threads: new Map(shares),
      generator: (user + system) / tookUs,
      others: Math.max(0, othersUs) / tookUs,
    };
  };
}

/** @see https://man7.org/linux/man-pages/man5/proc_stat.5.html */
function machineMicros(): number {
  const [line = ""] = readFileSync("/proc/stat", "utf8").split("\n", 1);
  const [user = 0, nice = 0, system = 0, _idle, _iowait, irq = 0, softirq = 0, steal = 0] = line
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const ticks = user + nice + system + irq + softirq + steal;
  return (ticks * 1_000_000) / TICKS_PER_SECOND;
}
