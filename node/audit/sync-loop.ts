import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../../ports/clock.ts";
import type { DiskRoom } from "./disk-room.ts";
import type { WalSignal } from "./wal-signal.ts";
import { sleepUntilFrames, wake } from "./wal-signal.ts";
import type { WalSync } from "./wal-sync.ts";

/** Rounds begin at most so often: what lies between two of them is one batch, and one sync. */
export const SYNC_EVERY_MS = 5;
/**
 * What is synced becomes part of the log at most so often, ms. A record costs less in a larger batch, and
 * nobody waits for this.
 */
export const ABSORB_EVERY_MS = 40;
/** Without any wake-up the audit thread looks again after this. */
const IDLE_MS = 250;
const MS_NS = 1_000_000n;

/** What is made of the frames once they are on the disk. */
export type SyncedFrames = {
  /**
   * Called after every round. Gives the disk back now and then by calling `between`. True: not
   * done.
   */
  absorb(between: () => void): boolean;
  /** Called once, after the last round. */
  finish(): void;
};

export type SyncLoopOptions = {
  readonly sync: WalSync;
  readonly signal: WalSignal;
  readonly clock: Clock;
  /**
   * Holds this thread up for so long, ms. It has nothing else to do between two rounds, and a timer is two or three
   * turns of the event loop: more than all that a round does besides the sync.
   */
  readonly hold: (ms: number) => void;
  readonly frames?: SyncedFrames;
  readonly room?: DiskRoom;
};

/** The audit thread's life: sleep until there are frames, let a batch gather, sync it, use it. */
export class SyncLoop {
  readonly #options: SyncLoopOptions;
  #isStopping = false;
  /** Something was synced that `absorb` was not called for yet. */
  #isWaiting = false;
  /** `absorb` was not done when it returned. */
  #isBehind = false;
  #absorbedAtNs: bigint | undefined;

  constructor(options: SyncLoopOptions) {
    this.#options = options;
  }

  /** Resolves after `stop`, when all that was appended before it is on the disk. */
  async run(): Promise<void> {
    const { sync, signal, frames, room } = this.#options;
    while (!this.#isStopping) {
      const hasNews = (): boolean =>
        this.#isWaiting || this.#isBehind || this.#isStopping || sync.hasNews();
      await sleepUntilFrames(signal, hasNews, IDLE_MS);
      this.#pause();
      room?.lookIfDue();
      const isMore = sync.round();
      if (isMore) this.#isWaiting = frames !== undefined;
      // What other threads say is heard in between: while frames come, nothing else ends this thread's turn.
      if (this.#absorbIfDue() || !isMore) await nextTurn();
    }
    sync.round();
    frames?.finish();
    sync.close();
  }

  stop(): void {
    this.#isStopping = true;
    wake(this.#options.signal);
  }

  /** The first frame after a quiet time is synced at once; later ones wait for the batch's end. */
  #pause(): void {
    const { sync, clock, hold } = this.#options;
    const leftNs = sync.roundAtNs + BigInt(SYNC_EVERY_MS) * MS_NS - clock.monoNs();
    if (leftNs > 0n && !this.#isStopping) hold(Number(leftNs) / 1e6);
  }

  /**
   * After a quiet time at once.
   *
   * @returns Whether it was due.
   */
  #absorbIfDue(): boolean {
    const { frames, clock } = this.#options;
    const nowNs = clock.monoNs();
    const dueNs = (this.#absorbedAtNs ?? 0n) + BigInt(ABSORB_EVERY_MS) * MS_NS;
    if (this.#absorbedAtNs !== undefined && nowNs < dueNs && !this.#isBehind) return false;
    this.#absorbedAtNs = nowNs;
    this.#isWaiting = false;
    this.#isBehind = frames?.absorb(() => this.#syncIfDue()) ?? false;
    return true;
  }

  #syncIfDue(): void {
    const { sync, clock } = this.#options;
    if (clock.monoNs() - sync.roundAtNs < BigInt(SYNC_EVERY_MS) * MS_NS) return;
    if (sync.round()) this.#isWaiting = true;
  }
}
