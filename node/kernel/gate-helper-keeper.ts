import type { Clock } from "../../ports/clock.ts";
import { gateTable } from "./gate-table.ts";

// Keeps the program running that closes the gate within a turn of the node's.
//
// H1. It knows what each scope means before it is said to be there, and again after each change.
// H2. One that ends is started again. Without it kills take the long way, and hold as well.

const RESTART_MS = 1_000;

/** The running program; see `HelperProcess` of the adapters. */
export type GateHelper = { tell(bytes: Uint8Array): boolean; stop(): void };

export type GateHelperKeeperDeps = {
  readonly clock: Clock;
  readonly start: (on: {
    readonly ready: () => void;
    readonly end: (why: string) => void;
  }) => GateHelper;
  /** `undefined`: it runs. */
  readonly onState: (missingBecause: string | undefined) => void;
};

export class GateHelperKeeper {
  readonly #deps: GateHelperKeeperDeps;
  #helper: GateHelper | undefined;
  #table = gateTable(new Map());
  #isRunning = false;
  #isStopped = false;
  #told: string | undefined;

  constructor(deps: GateHelperKeeperDeps) {
    this.#deps = deps;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Resolves once it runs, or is known not to. */
  start(): Promise<void> {
    return new Promise((resolve) => {
      this.#helper = this.#deps.start({
        ready: () => {
          this.#isRunning = true;
          this.#tellState(undefined);
          resolve();
        },
        end: (why) => {
          this.#ended(why);
          resolve();
        },
      });
      this.#helper.tell(this.#table);
    });
  }

  /** The pods are others now. */
  setScopes(addresses: ReadonlyMap<string, readonly string[]>): void {
    this.#table = gateTable(addresses);
    // It ends, which is heard, and the next one begins with the new list.
    if (this.#helper?.tell(this.#table) === false) this.#helper.stop();
  }

  stop(): void {
    this.#isStopped = true;
    this.#helper?.stop();
  }

  #ended(why: string): void {
    this.#helper = undefined;
    this.#isRunning = false;
    if (this.#isStopped) return;
    this.#tellState(why);
    this.#deps.clock.after(RESTART_MS, () => {
      if (!this.#isStopped) void this.start();
    });
  }

  /** A program that is not installed is said to be missing once, not once a second. */
  #tellState(missingBecause: string | undefined): void {
    if (missingBecause === this.#told && missingBecause !== undefined) return;
    this.#told = missingBecause;
    this.#deps.onState(missingBecause);
  }
}
