/** What a process becomes in order to end, the one that starts sooner first. */
const ENDINGS: readonly ((code: number) => readonly [file: string, ...words: string[]])[] = [
  (code) => ["/bin/sh", "-c", `exit ${code}`],
  (code) => [process.execPath, "-e", `process.exit(${code})`],
];

/**
 * Ends this process in this moment, whatever its threads are at: say why before. Only the main thread can.
 *
 * `process.exit` joins libuv's threads. One of them may be within a transaction of LMDB, which waits for the
 * JavaScript thread that began it, and that one has ended or is the one that joins: nobody would go on, and no
 * supervisor would start the process again. So this process becomes one that only ends, which takes all its
 * threads away. Where that cannot be had its status is that of SIGKILL, 137 in a shell.
 */
export function endWith(code: number): never {
  for (const ending of ENDINGS) {
    const [file, ...words] = ending(code);
    try {
      process.execve?.(file, [file, ...words], {});
    } catch {
      // There is no such program here, or none may be started.
    }
  }
  process.kill(process.pid, "SIGKILL");
  throw new Error("invariant broken: SIGKILL was survived");
}
