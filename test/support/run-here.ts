import { runProgram } from "../../cli/program.ts";

/**
 * Runs one command of the CLI in this process, to its end.
 *
 * It speaks to the same sockets in the same words as a process of its own would, at a tenth of what
 * one costs. What the process itself adds, its exit, signals, environment and user, is `runAltrace`'s.
 */
export async function runHere(...words: string[]) {
  let [stdout, stderr] = ["", ""];
  const code = await runProgram(words, {
    env: {},
    version: "0.0.0",
    untilSignal: new Promise(() => undefined),
    abort: (why) => {
      throw new Error(why);
    },
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
  });
  return { code, stdout, stderr };
}
