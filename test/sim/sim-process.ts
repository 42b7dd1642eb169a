import type { Clock } from "../../ports/clock.ts";
import type { Random } from "../../ports/random.ts";
import type { Store } from "../../ports/store.ts";
import type { Draw } from "./draw.ts";
import { type MachineClock, machineTime, type SimTime, turn } from "./sim-clock.ts";

/**
 * One run of one program on one machine. After `kill` nothing of it is ever heard of again: its timers
 * do not fire, its waits do not end, what it writes reaches no disk.
 */
export class SimProcess {
  readonly clock: Clock;
  readonly random: Random;
  #isAlive = true;

  constructor(time: SimTime, machine: MachineClock, draw: Draw) {
    const clock = machineTime(time, machine);
    this.random = draw.random();
    this.clock = {
      ...clock,
      after: (delayMs, fn) => clock.after(delayMs, () => this.#isAlive && fn()),
    };
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  kill(): void {
    this.#isAlive = false;
  }

  readonly nextTurn = async (): Promise<void> => {
    await turn();
    if (!this.#isAlive) await FOREVER;
  };

  /** A store as this process has it open: once it is dead it finds nothing and waits for ever. */
  opened(store: Store): Store {
    return {
      get: (key) => (this.#isAlive ? store.get(key) : undefined),
      list: (prefix, options) => (this.#isAlive ? store.list(prefix, options) : []),
      commit: async (writes, guard) => {
        if (!this.#isAlive) return FOREVER;
        try {
          const outcome = await store.commit(writes, guard);
          return this.#isAlive ? outcome : await FOREVER;
        } catch (error) {
          if (this.#isAlive) throw error;
          return FOREVER;
        }
      },
      close: async () => undefined,
    };
  }
}

/** Never settles. */
export const FOREVER = new Promise<never>(() => undefined);
