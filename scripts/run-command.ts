import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";

export const ROOT = join(import.meta.dirname, "..");

/** What became of a command. */
export type CommandResult = {
  /** `undefined`: a signal ended it, or it could not be started. */
  readonly code: number | undefined;
  /** Standard output and error together, as they came. */
  readonly output: string;
  readonly tookMs: number;
};

export type CommandOptions = {
  /** Default: the root of the repository. */
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Ends it, and everything it started, after so long. Default: ten minutes. */
  readonly timeoutMs?: number;
  /** Also shows the output as it comes. */
  readonly shown?: boolean;
};

const TIMEOUT_MS = 600_000;

/**
 * Runs a command to its end with its standard input closed. Never rejects: a command that could not
 * be started has no code, and its output says why.
 *
 * The repository's own commands and runtime stand first on its PATH, as in an npm script.
 */
export function runCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const { cwd = ROOT, env = {}, timeoutMs = TIMEOUT_MS, shown = false } = options;
  const startedNs = process.hrtime.bigint();
  const started = spawn(program, args, {
    cwd,
    env: { ...process.env, PATH: commandPath(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
    // A group of its own, so that a timeout ends its children with it.
    detached: true,
  });
  const chunks: Buffer[] = [];
  const take = (chunk: Buffer): void => {
    chunks.push(chunk);
    if (shown) process.stdout.write(chunk);
  };
  started.stdout.on("data", take);
  started.stderr.on("data", take);
  const timer = setTimeout(() => {
    take(Buffer.from(`\nended after ${timeoutMs} ms\n`));
    endGroup(started.pid);
  }, timeoutMs);
  return new Promise((resolve) => {
    const done = (code: number | undefined): void => {
      clearTimeout(timer);
      const tookMs = Number((process.hrtime.bigint() - startedNs) / 1_000_000n);
      resolve({ code, output: Buffer.concat(chunks).toString("utf8"), tookMs });
    };
    started.once("error", (error) => {
      take(Buffer.from(`${program}: ${error.message}\n`));
      done(undefined);
    });
    started.once("close", (code) => done(code ?? undefined));
  });
}

/** PATH with the repository's own programs first. */
export function commandPath(): string {
  const own = [join(ROOT, "node_modules", ".bin"), join(ROOT, ".tools", "bin")];
  return [...own, process.env.PATH ?? ""].join(delimiter);
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It ended by itself in this moment.
  }
}
