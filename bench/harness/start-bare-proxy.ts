import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { cleanEnv } from "./start-altrace.ts";

const ROOT = join(import.meta.dirname, "..", "..");

export type BareProxy = AsyncDisposable & { readonly origin: string; readonly pid: number };

/** The proxy that decides nothing, in a process of its own. */
export async function startBareProxy(upstream: string): Promise<BareProxy> {
  const program = join(ROOT, "node_modules", ".bin", "node");
  const script = join(ROOT, "bench", "fixtures", "bare-proxy.ts");
  const started: ChildProcess = spawn(program, [script, upstream], {
    env: cleanEnv(),
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (started.stdout === null || started.pid === undefined) throw new Error("no process");
  const [line] = (await once(started.stdout, "data")) as [Buffer];
  return {
    origin: `http://127.0.0.1:${Number(line.toString("utf8"))}`,
    pid: started.pid,
    [Symbol.asyncDispose]: async () => {
      const exited = once(started, "exit");
      started.kill("SIGKILL");
      await exited;
    },
  };
}
