import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { THREAD_POOL_SIZE } from "../../node/thread-pool.ts";
import { freePortBase } from "./free-ports.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const NODE = join(ROOT, "node_modules", ".bin", "node");
const CLI = join(ROOT, "cli", "altrace.js");
/** Runs the sources, not the program that was built of them: what changes one of their classes changes none of that. */
export const OF_SOURCES = {
  script: "cli/main.ts",
  /** What `cli/altrace.js` sets before it loads the program. */
  env: {
    UV_THREADPOOL_SIZE: String(THREAD_POOL_SIZE),
    NODE_COMPILE_CACHE: join(ROOT, ".cache", "compiled"),
  },
} as const;
const READY_MS = 60_000;
const STOP_MS = 30_000;
const STDERR_CHARS_MAX = 16_384;

/** What `altrace up --json` says when it is ready. */
export type Ready = {
  readonly gateway: string;
  readonly forward: string;
  readonly grpc: { readonly node: string; readonly coordinator: string };
  readonly metrics: string;
  /** Virtual keys by `team/agent`. */
  readonly keys: Readonly<Record<string, string>>;
  readonly home: string;
};

/** The product in a process of its own, with a HOME of its own. */
export type Altrace = AsyncDisposable & {
  readonly ready: Ready;
  readonly pid: number;
  /** Runs one command of the CLI against this HOME. */
  cli(...words: string[]): Promise<{ readonly code: number | null; readonly output: string }>;
  /** Lets it end in order; returns its exit code. */
  stop(): Promise<number | null>;
};

export type AltraceOptions = {
  /** Further words after `altrace up`. */
  readonly args?: readonly string[];
  /** Arguments of node itself, such as `--import`. */
  readonly nodeArgs?: readonly string[];
  /** See `OF_SOURCES`. */
  readonly isOfSources?: boolean;
  readonly env?: Readonly<Record<string, string>>;
};

/** Processes of ours that run now: whoever measures must not leave them behind. */
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const one of running) one.kill("SIGKILL");
});

/** Starts `altrace up` on free ports. Rejects with what it printed when it does not get ready. */
export async function startAltrace(options: AltraceOptions = {}): Promise<Altrace> {
  // Sockets lie in HOME, and their paths are bounded: a short one.
  const home = mkdtempSync(join(tmpdir(), "alt-"));
  const portBase = await freePortBase();
  const { args = [], nodeArgs = [], env = {}, isOfSources = false } = options;
  const words = ["up", "--json", "--home", home, "--port-base", String(portBase), ...args];
  const started = spawn(
    NODE,
    [...nodeArgs, isOfSources ? join(ROOT, OF_SOURCES.script) : CLI, ...words],
    {
      cwd: ROOT,
      env: { ...cleanEnv(), ...(isOfSources && OF_SOURCES.env), ...env },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  running.add(started);
  started.once("exit", () => running.delete(started));
  const stderr = tailOf(started);
  try {
    const ready = await readyLine(started);
    return new RunningAltrace(started, ready, home);
  } catch (cause) {
    started.kill("SIGKILL");
    rmSync(home, { recursive: true, force: true });
    throw new Error(`altrace did not get ready:\n${stderr()}`, { cause });
  }
}

/**
 * The environment without our own settings and without provider keys: what is measured must not
 * depend on who measures, and must not spend anybody's money.
 */
export function cleanEnv(): Record<string, string | undefined> {
  const foreign = /^ALTRACE_|^(OPENAI|ANTHROPIC)_/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}

class RunningAltrace implements Altrace {
  readonly ready: Ready;
  readonly pid: number;
  readonly #process: ChildProcess;
  readonly #home: string;

  constructor(started: ChildProcess, ready: Ready, home: string) {
    this.ready = ready;
    this.pid = started.pid as number;
    this.#process = started;
    this.#home = home;
  }

  async cli(...words: string[]) {
    const started = spawn(NODE, [CLI, ...words, "--home", this.#home], {
      cwd: ROOT,
      env: cleanEnv(),
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [started.stdout, started.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
    }
    const [code] = (await once(started, "close")) as [number | null];
    return { code, output };
  }

  async stop(): Promise<number | null> {
    const { exitCode, signalCode } = this.#process;
    if (exitCode !== null || signalCode !== null) return exitCode;
    const exited = once(this.#process, "exit");
    this.#process.kill("SIGTERM");
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), STOP_MS);
    const [code] = (await exited) as [number | null];
    clearTimeout(timer);
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.#home, { recursive: true, force: true });
  }
}

async function readyLine(started: ChildProcess): Promise<Ready> {
  const { stdout } = started;
  if (stdout === null) throw new Error("no standard output");
  const lines = createInterface({ input: stdout });
  const timeout = AbortSignal.timeout(READY_MS);
  for await (const line of withAbort(lines, timeout)) {
    const said = parseJson(line) as (Ready & { ready?: unknown }) | undefined;
    if (said?.ready !== true) continue;
    // Whatever it says later must not fill the pipe.
    stdout.resume();
    return said;
  }
  throw new Error(`ended with ${started.exitCode ?? started.signalCode} before it was ready`);
}

function withAbort(lines: ReturnType<typeof createInterface>, signal: AbortSignal) {
  signal.addEventListener("abort", () => lines.close(), { once: true });
  return lines;
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** Keeps the end of what a process says on standard error. */
function tailOf(started: ChildProcess): () => string {
  let text = "";
  started.stderr?.setEncoding("utf8").on("data", (chunk: string) => {
    text = (text + chunk).slice(-STDERR_CHARS_MAX);
  });
  return () => text;
}
