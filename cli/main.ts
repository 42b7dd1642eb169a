import { readFileSync } from "node:fs";
import { runProgram } from "./program.ts";

/** Words that are processes of their own, with flags of their own. */
const SERVERS: Readonly<Record<string, () => Promise<unknown>>> = {
  enforcer: () => import("../node/kernel/main.ts"),
  coordinator: () => import("../coordinator/main.ts"),
  node: () => import("../node/main.ts"),
};

/** Asked for by commands that end by a signal; all others are ended by it as any program is. */
let signal: Promise<string> | undefined;

const server = SERVERS[process.argv[2] ?? ""];
if (server === undefined) {
  const code = await runProgram(process.argv.slice(2), {
    env: process.env,
    streams: { out: process.stdout, err: process.stderr },
    version: ownVersion(),
    get untilSignal() {
      signal ??= signalled();
      return signal;
    },
    abort: (why) => {
      process.stderr.write(`altrace: ${why}\n`);
      process.exit(1);
    },
  });
  // What was written is flushed first; a thread that will not end must not keep the process.
  process.stdout.write("", () => process.exit(code));
} else {
  // The server reads its own words, as if it had been started directly.
  process.argv.splice(2, 1);
  await server();
}

function ownVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

function signalled(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.once(signal, () => resolve(signal));
    }
  });
}
