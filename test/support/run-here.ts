import { runProgram } from "../../cli/program.ts";

/**
 * Runs one command of the CLI in this process, to its end: starting another one takes far longer than
 * what most commands do.
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
