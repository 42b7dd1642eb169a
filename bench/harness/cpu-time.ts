import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** What the kernel counts processor time in. */
export const TICKS_PER_SECOND = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/**
 * Processor time that a process has used in all its threads, user and system, in microseconds. The
 * kernel counts in ticks of some 10,000: measure for seconds.
 *
 * @see https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
 */
export function cpuMicros(pid: number): number {
  return cpuMicrosOf(readFileSync(`/proc/${pid}/stat`, "utf8"));
}

/** The same from the text of a `stat` file, of a process or of one of its threads. */
export function cpuMicrosOf(stat: string): number {
  // The second field is the program's name in brackets, and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [user, system] = [fields[11], fields[12]];
  return ((Number(user) + Number(system)) * 1_000_000) / TICKS_PER_SECOND;
}
