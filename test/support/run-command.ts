import { cleanEnv } from "./run-altrace.ts";

/**
 * Runs one command of the CLI in this process, to its end.
 *
 * It speaks to the same sockets in the same words as a process of its own would, at a tenth of what
 * one costs. What the process itself adds, its exit code, signals and user, is `runAltrace`'s.
 */
export async function runCommand(
  words: readonly string[],
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  // Loaded here: most files that start the product give it no orders.
  const { runProgram } = await import("../../cli/program.ts");
  let [stdout, stderr] = ["", ""];
  const code = await runProgram(words, {
    env: cleanEnv(),
    streams: {
      out: {
        write: (text) => {
          stdout += text;
        },
      },
      err: {
        write: (text) => {
          stderr += text;
        },
      },
    },
    version: "0.0.0",
    // No command of these is told to end.
    untilSignal: new Promise(() => undefined),
    abort: (why) => {
      throw new Error(`altrace ${words.join(" ")}: ${why}`);
    },
  });
  return { code, stdout, stderr };
}
