import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorMessage } from "../../ports/error-message.ts";
import { freePort } from "../harness/free-ports.ts";
import { pause } from "../harness/operator.ts";
import { treeOf } from "../harness/process-tree.ts";
import { cleanEnv } from "../harness/start-altrace.ts";
import { PEER_KEY, type Peer } from "./peer.ts";
import { answerOf, type Target } from "./target.ts";

const READY_MS = 120_000;
const ASK_EVERY_MS = 20;
const STDERR_CHARS_MAX = 16_384;

export type RunningPeer = AsyncDisposable & {
  readonly target: Target;
  /** From the start of its process to its first whole answer, milliseconds. */
  readonly coldStartMs: number;
};

/** Peers' processes that run now: whoever measures must not leave them behind. */
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const one of running) endTree(one);
});

/**
 * Starts a peer on a free port of 127.0.0.1, and resolves when it has answered.
 *
 * @throws Error It ended, or gave no answer in time: with the last that it said.
 */
export async function startPeer(
  peer: Peer,
  of: { readonly folder: string; readonly upstream: string },
): Promise<RunningPeer> {
  const scratch = mkdtempSync(join(tmpdir(), `altrace-${peer.name}-`));
  const port = await freePort();
  const { program, args, env = {}, files, path, headers } = peer.launch({ ...of, scratch, port });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(scratch, name), text);
  // Whatever it keeps between runs must not make the next one another one.
  const home = join(scratch, "home");
  mkdirSync(home);
  const startedNs = process.hrtime.bigint();
  const started = spawn(program, args, {
    cwd: scratch,
    env: { ...cleanEnv(), HOME: home, ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  running.add(started);
  started.once("exit", () => running.delete(started));
  const stop = async (): Promise<void> => {
    await end(started);
    rmSync(scratch, { recursive: true, force: true });
  };
  const said = tailOf(started);
  const target: Target = {
    name: peer.name,
    origin: `http://127.0.0.1:${port}`,
    key: PEER_KEY,
    pid: started.pid,
    ...(path !== undefined && { path }),
    ...(headers !== undefined && { headers }),
  };
  try {
    await firstAnswer(started, target);
  } catch (cause) {
    await stop();
    throw new Error(`${peer.name} did not get ready:\n${said()}`, { cause });
  }
  const coldStartMs = Number(process.hrtime.bigint() - startedNs) / 1e6;
  return { target, coldStartMs, [Symbol.asyncDispose]: stop };
}

async function firstAnswer(started: ChildProcess, target: Target): Promise<void> {
  const failed = once(started, "error").then(([error]) => error as Error);
  const deadlineMs = Date.now() + READY_MS;
  let last = "nothing listens";
  while (Date.now() < deadlineMs) {
    if (started.exitCode !== null || started.signalCode !== null) throw new Error("it has ended");
    const tried = await Promise.race([answerOf(target, "answer").catch(messageOf), failed]);
    if (tried instanceof Error) throw tried;
    if (tried.isWhole) return;
    last = tried.text;
    await pause(ASK_EVERY_MS);
  }
  throw new Error(`no answer in ${READY_MS} ms: ${last}`);
}

function messageOf(error: unknown) {
  return { isWhole: false, text: errorMessage(error) };
}

async function end(started: ChildProcess): Promise<void> {
  if (started.exitCode !== null || started.signalCode !== null || !started.pid) return;
  const exited = once(started, "exit");
  endTree(started);
  await exited;
}

/** Some leave workers behind when only their first process is ended. */
function endTree({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  for (const one of treeOf(pid)) {
    try {
      process.kill(one, "SIGKILL");
    } catch {
      // It ended with its parent.
    }
  }
}

/** Keeps the end of what a process says on standard error. */
function tailOf(started: ChildProcess): () => string {
  let text = "";
  started.stderr?.setEncoding("utf8").on("data", (part: string) => {
    text = (text + part).slice(-STDERR_CHARS_MAX);
  });
  return () => text;
}
