import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { cleanEnv } from "./start-altrace.ts";

const ROOT = join(import.meta.dirname, "..", "..");

export type BareProxy = AsyncDisposable & {
  readonly origin: string;
  readonly pid: number;
  /** Ends it at once, as the kernel ends a process; returns the monotonic time just before, nanoseconds. */
  kill(): bigint;
};

/** The proxy that decides nothing, in a process of its own. */
export function startBareProxy(upstream: string): Promise<BareProxy> {
  return start("bare-proxy.ts", upstream);
}

/** The same for tunnels, all of them to one port of this machine. */
export function startBareTunnels(farPort: number): Promise<BareProxy> {
  return start("bare-tunnels.ts", String(farPort));
}

async function start(script: string, ...args: readonly string[]): Promise<BareProxy> {
  const program = join(ROOT, "node_modules", ".bin", "node");
  const started: ChildProcess = spawn(program, [join(ROOT, "bench", "fixtures", script), ...args], {
    env: cleanEnv(),
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (started.stdout === null || started.pid === undefined) throw new Error("no process");
  const exited = once(started, "exit");
  const [line] = (await once(started.stdout, "data")) as [Buffer];
  return {
    origin: `http://127.0.0.1:${Number(line.toString("utf8"))}`,
    pid: started.pid,
    kill: () => {
      const atNs = process.hrtime.bigint();
      started.kill("SIGKILL");
      return atNs;
    },
    [Symbol.asyncDispose]: async () => {
      started.kill("SIGKILL");
      await exited;
    },
  };
}
