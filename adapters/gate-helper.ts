import { spawn } from "node:child_process";

/** A program that was started, and is told things on its standard input. */
export type HelperProcess = {
  /** False: it does not read what it was told before, and is of no use. */
  tell(bytes: Uint8Array): boolean;
  stop(): void;
};

const READY = "ready";
/** Far beyond the longest list; a program that leaves so much unread has stopped. */
const UNREAD_BYTES_MAX = 32 * 1024 * 1024;
/** Where the image has it, and where a machine without an image may. */
const PATH = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin";

/**
 * Starts the gate's helper.
 *
 * @param on.ready Once, when it has said that its pipes are there.
 * @param on.end Once: it has ended, or could not be started, and why.
 */
export function startGateHelper(
  program: string,
  args: readonly string[],
  on: { readonly ready: () => void; readonly end: (why: string) => void },
): HelperProcess {
  const child = spawn(program, [...args], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { PATH, LC_ALL: "C" },
  });
  let isOver = false;
  const over = (why: string): void => {
    if (isOver) return;
    isOver = true;
    on.end(why);
  };
  child.stdout.once("data", (word: Buffer) => {
    if (word.toString("latin1").trim() === READY) on.ready();
  });
  child.stdin.on("error", () => undefined);
  child.on("error", ({ message }) => over(message));
  child.on("close", (code, signal) => over(`it ended with ${signal ?? code}`));
  return {
    tell: (bytes) => {
      if (isOver || child.stdin.writableLength > UNREAD_BYTES_MAX) return false;
      child.stdin.write(bytes);
      return true;
    },
    stop: () => {
      child.stdin.destroy();
      child.kill("SIGKILL");
    },
  };
}
