import { readdirSync, readFileSync } from "node:fs";
import { cpuMicrosOf } from "./cpu-time.ts";

/**
 * Processor time that each thread of a process has used, microseconds, by the name that the kernel
 * has for it. Threads of one name, such as those of V8's pool, are one sum.
 *
 * @see https://man7.org/linux/man-pages/man5/proc_pid_task.5.html
 */
export function threadMicros(pid: number): ReadonlyMap<string, number> {
  const micros = new Map<string, number>();
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try {
      const stat = readFileSync(`/proc/${pid}/task/${task}/stat`, "utf8");
      const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
      micros.set(name, (micros.get(name) ?? 0) + cpuMicrosOf(stat));
    } catch {
      // It has ended between the listing and the look.
    }
  }
  return micros;
}
