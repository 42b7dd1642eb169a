import { readdirSync, readFileSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";

/**
 * Sends SIGSTOP and resolves once no thread of the process runs. On a busy machine the thread that takes the
 * signal may wait 150 ms for a processor, and its siblings work on meanwhile.
 */
export async function stopProcess(pid: number): Promise<void> {
  process.kill(pid, "SIGSTOP");
  while (statesOf(pid).some((state) => state !== "T")) await nextTurn();
}

/** Of each thread, by the letter that the kernel has for it. */
function statesOf(pid: number): readonly string[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, "latin1");
    // The program's name is before it, in brackets, and may hold anything.
    return stat.charAt(stat.lastIndexOf(")") + 2);
  });
}
