import { readFileSync } from "node:fs";
import { endWith } from "../adapters/end-now.ts";
import { untilSignal } from "../adapters/process-signals.ts";
import { runProgram } from "./program.ts";
import { SERVER_WORDS, serverHelp } from "./server-words.ts";

/** Asked for by commands that end by a signal; all others are ended by it as any program is. */
let signal: Promise<string> | undefined;
let hangUp: Promise<string> | undefined;
let end: (code: number) => never = (code) => process.exit(code);

const [word = "", ...words] = process.argv.slice(2);
const server = Object.hasOwn(SERVER_WORDS, word) ? SERVER_WORDS[word] : undefined;
if (server !== undefined && (words.includes("--help") || words.includes("-h"))) {
  process.stdout.write(await serverHelp(word, server));
} else if (server === undefined) {
  const code = await runProgram(process.argv.slice(2), {
    env: process.env,
    streams: { out: process.stdout, err: process.stderr },
    version: ownVersion(),
    get untilSignal() {
      signal ??= untilSignal("SIGINT", "SIGTERM");
      return signal;
    },
    get untilHangUp() {
      hangUp ??= untilSignal("SIGHUP");
      return hangUp;
    },
    onStores: () => {
      end = endWith;
    },
    abort: (why) => {
      process.stderr.write(`altrace: ${why}\n`);
      endWith(1);
    },
  });
  // What was written is flushed first; a thread that will not end must not keep the process.
  process.stdout.write("", () => end(code));
} else {
  // The server reads its own words, as if it had been started directly.
  process.argv.splice(2, 1);
  await server.start();
}

function ownVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
