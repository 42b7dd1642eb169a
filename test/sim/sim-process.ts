import type { Clock } from "../../ports/clock.ts";
import type { Random } from "../../ports/random.ts";
import type { Store } from "../../ports/store.ts";
import type { Draw } from "./draw.ts";
import { type MachineClock, machineTime, type SimTime, turn } from "./sim-clock.ts";

type Due = { readonly fn: () => void; isOff: boolean };

/**
 * One run of one program on one machine. After `kill` nothing of it is ever heard of again: its timers
 * do not fire, its waits do not end, what it writes reaches no disk. After `suspend` it goes on later as
 * if nothing had happened.
 */
export class SimProcess {
  readonly clock: Clock;
  readonly random: Random;
  readonly #time: SimTime;
  #isAlive = true;
  #resumesMs = 0;
  /** What is due and waits until the process runs again. */
  readonly #held: Due[] = [];

  constructor(time: SimTime, machine: MachineClock, draw: Draw) {
    const clock = machineTime(time, machine);
    this.#time = time;
    this.random = draw.random();
    this.clock = {
      ...clock,
      after: (delayMs, fn) => {
        const due: Due = { fn, isOff: false };
        const cancel = clock.after(delayMs, () => this.#fire(due));
        return () => {
          due.isOff = true;
          cancel();
        };
      },
    };
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  kill(): void {
    this.#isAlive = false;
  }

  /** The host runs it again only after so long, world's time. Its clocks go on meanwhile. */
  suspend(ms: number): void {
    this.#resumesMs = Math.max(this.#resumesMs, this.#time.nowMs + ms);
  }

  /** What came while it did not run comes in its order, and before what comes after. */
  #fire(due: Due): void {
    if (!this.#isAlive) return;
    const leftMs = this.#resumesMs - this.#time.nowMs;
    if (leftMs <= 0 && this.#held.length === 0) {
      due.fn();
      return;
    }
    this.#held.push(due);
    if (this.#held.length === 1) this.#time.after(Math.max(0, leftMs), () => this.#catchUp());
  }

  #catchUp(): void {
    if (!this.#isAlive) return;
    const leftMs = this.#resumesMs - this.#time.nowMs;
    const due = leftMs > 0 ? undefined : this.#held[0];
    if (due !== undefined && !due.isOff) due.fn();
    if (due !== undefined) this.#held.shift();
    if (this.#held.length > 0) this.#time.after(Math.max(0, leftMs), () => this.#catchUp());
  }

  readonly nextTurn = async (): Promise<void> => {
    await turn();
    await this.#running();
  };

  /** A store as this process has it open: once it is dead it finds nothing and waits for ever. */
  opened(store: Store): Store {
    return {
      get: (key) => (this.#isAlive ? store.get(key) : undefined),
      list: (prefix, options) => (this.#isAlive ? store.list(prefix, options) : []),
      commit: async (writes, guard) => {
        if (!this.#isAlive) return FOREVER;
        try {
          return await store.commit(writes, guard);
        } finally {
          await this.#running();
        }
      },
      close: async () => undefined,
    };
  }

  /** What the host has for it waits until it runs, and for ever once it is dead. */
  async #running(): Promise<void> {
    const leftMs = this.#resumesMs - this.#time.nowMs;
    if (this.#isAlive && leftMs > 0) {
      await new Promise<void>((resolve) => this.clock.after(0, resolve));
    }
    if (!this.#isAlive) await FOREVER;
  }
}

/** Never settles. */
export const FOREVER = new Promise<never>(() => undefined);
