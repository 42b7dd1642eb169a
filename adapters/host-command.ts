import { spawn } from "node:child_process";

type Outcome = { readonly code: number | null; readonly output: string; readonly errors: string };

const TIMEOUT_MS = 10_000;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;
/** Where a container's or a unit's short PATH may not lead. */
const PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin";

/** Runs one program such as `nft` or `ip`, with an environment of ours alone. */
export function hostCommand(
  program: string,
  args: readonly string[],
  input?: string,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(program, [...args], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { PATH, LC_ALL: "C" },
      timeout: TIMEOUT_MS,
      killSignal: "SIGKILL",
    });
    const output = { out: "", err: "" };
    const keep = (which: "out" | "err") => (chunk: Buffer) => {
      if (output[which].length < OUTPUT_BYTES_MAX) output[which] += chunk.toString("utf8");
    };
    child.stdout.on("data", keep("out"));
    child.stderr.on("data", keep("err"));
    child.on("error", ({ message }) => resolve({ code: null, output: "", errors: message }));
    child.on("close", (code) => resolve({ code, output: output.out, errors: output.err }));
    // A program that ends before it has read everything says why by its code.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input ?? "");
  });
}

/** Starts a program that is listened to until it ends or the returned function is called. */
export function followHostCommand(
  program: string,
  args: readonly string[],
  on: { readonly line: (line: string) => void; readonly end: () => void },
): () => void {
  const child = spawn(program, [...args], {
    stdio: ["ignore", "pipe", "ignore"],
    env: { PATH, LC_ALL: "C" },
  });
  let rest = "";
  let isOver = false;
  const over = (): void => {
    if (isOver) return;
    isOver = true;
    on.end();
  };
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString("utf8")).split("\n");
    rest = (lines.pop() ?? "").slice(-OUTPUT_BYTES_MAX);
    for (const line of lines) on.line(line);
  });
  child.on("error", over);
  child.on("close", over);
  return () => {
    isOver = true;
    child.kill("SIGKILL");
  };
}
