import { type ChildProcessByStdio, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { proofSize } from "./proof.ts";

const ROOT = join(import.meta.dirname, "..", "..");
/** The node that npm brought, whatever runs the tests. */
export const NODE = join(ROOT, "node_modules", ".bin", "node");
const CLI = join(ROOT, "cli", "altrace.js");
const SETPRIV = "/usr/bin/setpriv";
/** No command of these tests takes longer; one that does is ended, and its code is null. */
const COMMAND_MS = 110_000;

/** At full size a proof may take as long as `npm run proof` gives it, which a file's own word would cut short. */
const TEST_MS = { small: 120_000, full: 900_000 }[proofSize()];

/** For `vi.setConfig`: these end what hangs, and nothing else, however busy the machine is. */
export const E2E_TIMEOUTS = { testTimeout: TEST_MS, hookTimeout: 120_000 };

export type ProcessOptions = {
  readonly env?: Readonly<Record<string, string>>;
  /** Arguments of node itself. */
  readonly nodeArgs?: readonly string[];
  /** Runs as this user, without groups; needs root. */
  readonly uid?: number;
};

export type Ended = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

/** A process of the product, and all that it has said. */
export type AltraceProcess = {
  readonly pid: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly ended: Promise<Ended>;
  readonly isRunning: () => boolean;
  /** Sends a signal and waits for the end. */
  end(signal: NodeJS.Signals): Promise<Ended>;
};

/** Starts `altrace <words>`. It does not outlive the thread that started it. */
export function startProcess(words: readonly string[], options: ProcessOptions = {}) {
  const { env = {}, nodeArgs = [], uid } = options;
  return new RunningProcess(commandLine([NODE, ...nodeArgs, CLI, ...words], uid), env);
}

/** Runs one command of the CLI to its end. */
export async function runAltrace(
  words: readonly string[],
  options: ProcessOptions = {},
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  const running = startProcess(words, options);
  const timer = setTimeout(() => void running.end("SIGKILL"), COMMAND_MS);
  const { code } = await running.ended;
  clearTimeout(timer);
  return { code, stdout: running.stdout(), stderr: running.stderr() };
}

/** Any program, as somebody else on this machine would run it. */
export function startProgram(line: readonly string[], options: Omit<ProcessOptions, "nodeArgs">) {
  return new RunningProcess(commandLine(line, options.uid), options.env ?? {});
}

/**
 * The environment without our own settings and without provider keys: what a test shows must not
 * depend on who runs it, and must not spend anybody's money.
 */
export function cleanEnv(): Record<string, string> {
  const foreign = /^ALTRACE_|^(OPENAI|ANTHROPIC)_|^NODE_OPTIONS$|^VITEST|^NODE_ENV$/;
  const kept = Object.entries(process.env).filter(([name]) => !foreign.test(name));
  return Object.fromEntries(kept) as Record<string, string>;
}

function commandLine(line: readonly string[], uid: number | undefined): readonly string[] {
  if (!existsSync(SETPRIV)) {
    if (uid !== undefined) throw new Error(`another user needs ${SETPRIV} of util-linux`);
    return line;
  }
  const user = uid === undefined ? [] : [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
  return [SETPRIV, ...user, "--pdeathsig", "KILL", "--", ...line];
}

class RunningProcess implements AltraceProcess {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  #stdout = "";
  #stderr = "";

  constructor([program = "", ...args]: readonly string[], env: Readonly<Record<string, string>>) {
    this.#child = spawn(program, args, {
      cwd: ROOT,
      env: { ...cleanEnv(), ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.#stdout += text;
    });
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
    });
    this.ended = new Promise((resolve, reject) => {
      this.#child.once("error", reject);
      this.#child.once("close", (code, signal) => resolve({ code, signal }));
    });
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  stdout = (): string => this.#stdout;
  stderr = (): string => this.#stderr;
  isRunning = (): boolean => this.#child.exitCode === null && this.#child.signalCode === null;

  async end(signal: NodeJS.Signals): Promise<Ended> {
    if (this.isRunning()) this.#child.kill(signal);
    return await this.ended;
  }
}
