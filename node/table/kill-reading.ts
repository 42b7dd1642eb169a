import type { Table } from "./table.ts";

/**
 * How long a request that is about to go upstream waits for a kill that is being read, nanoseconds.
 * Reading takes a fraction of a millisecond; what takes longer is the host not running the mesh
 * thread, and then nobody knows whom the kill is for.
 */
export const KILL_READING_MAX_NS = 20_000_000n;

/**
 * Says that bytes have come which may be a kill, and when: monotonic nanoseconds, more than 0. From
 * here on nothing goes upstream before they were read. Mesh thread only.
 */
export function beginKillReading({ longs, layout }: Table, receivedNs: bigint): void {
  Atomics.store(longs, layout.killReadingAt, receivedNs);
}

/** They were read: if they were a kill that counts, its cell is stored. Mesh thread only. */
export function endKillReading({ longs, layout }: Table): void {
  Atomics.store(longs, layout.killReadingAt, 0n);
  Atomics.notify(longs, layout.killReadingAt);
}

/**
 * Waits until no kill is being read, so that the scope cells say all that this node has received.
 *
 * Blocks its thread, on purpose: whoever waits gives its processor to the mesh thread. Usually there
 * is nothing to wait for and this is one load.
 *
 * @param nowNs Monotonic clock.
 * @returns False: one has been waited for, or has been read, for longer than KILL_READING_MAX_NS.
 */
export function awaitKillReading({ longs, layout }: Table, nowNs: () => bigint): boolean {
  const at = layout.killReadingAt;
  let untilNs: bigint | undefined;
  for (;;) {
    const receivedNs = Atomics.load(longs, at);
    if (receivedNs === 0n) return true;
    // Of many that come one after another the first one's patience counts for all.
    untilNs ??= receivedNs + KILL_READING_MAX_NS;
    const leftNs = untilNs - nowNs();
    if (leftNs <= 0n) return false;
    Atomics.wait(longs, at, receivedNs, Number(leftNs) / 1e6);
  }
}
