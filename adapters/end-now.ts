/**
 * Ends this process in this moment, whatever its threads are at. Its status is that of SIGKILL, 137 in a shell:
 * say why before.
 *
 * `process.exit` joins libuv's threads. One of them may be within a transaction of LMDB, which waits for the
 * JavaScript thread that began it, and that one has ended or is the one that joins: nobody would go on, and no
 * supervisor would start the process again.
 */
export function endNow(): never {
  process.kill(process.pid, "SIGKILL");
  throw new Error("invariant broken: SIGKILL was survived");
}
