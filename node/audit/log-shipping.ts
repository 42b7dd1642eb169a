import { headOf } from "../../audit/checkpoint.ts";
import type { LogReader } from "../../audit/tiles.ts";
import { pause } from "../../ports/pause.ts";
import { LogShipper, type LogShipperOptions } from "./log-shipper.ts";

/** How often it is looked whether there is another coordinator, and as long as there is none, ms. */
const LOOK_EVERY_MS = { known: 5_000, unknown: 250 } as const;
/** Looks after which every archive is asked where it stands, of logs too that have not grown since: 10 min. */
export const LOOKS_PER_QUESTION = 120;

/** Coordinators as the mesh thread knows them. */
export type Archives = {
  /** Those that were heard. */
  readonly names: readonly string[];
  /** How many the mesh has, heard or not. */
  readonly trusted: number;
};

/** One log of this node. */
export type ShippedLog = LogReader & { readonly vkey: string };

export type LogShippingOptions = Omit<LogShipperOptions, "replica" | "vkey" | "read" | "onKept"> & {
  readonly archives: () => Promise<Archives>;
  /** In the order of their epochs: the last one grows. */
  readonly logs: readonly ShippedLog[];
};

/**
 * Brings all logs of a node to the archives of all coordinators, so that no one of them is needed to read
 * them.
 */
export class LogShipping {
  readonly #options: LogShippingOptions;
  readonly #logs: readonly LogCopies[];
  #trusted = 1;
  #isEnded = false;

  constructor(options: LogShippingOptions) {
    this.#options = options;
    this.#logs = options.logs.map((log) => new LogCopies(log));
    void this.#lookOn();
  }

  /** A checkpoint was cosigned: the note with that cosignature, of the log with this place in `logs`. */
  cosigned(log: number, note: string): void {
    this.#logs[log]?.offer(note);
  }

  /** Entries of that log which most of the coordinators have on their disks. */
  shippedSize(log: number): number {
    return this.#logs[log]?.keptBy(Math.floor(this.#trusted / 2) + 1) ?? 0;
  }

  stop(): void {
    this.#isEnded = true;
    for (const copies of this.#logs) copies.stop();
  }

  async #lookOn(): Promise<void> {
    for (let look = 1; !this.#isEnded; look++) {
      const { names, trusted } = await this.#options.archives();
      this.#trusted = Math.max(trusted, 1);
      for (const copies of this.#logs) {
        copies.shipTo(names, this.#options);
        if (look % LOOKS_PER_QUESTION === 0) copies.askAgain();
      }
      const waitMs = names.length > 0 ? LOOK_EVERY_MS.known : LOOK_EVERY_MS.unknown;
      await pause(this.#options.clock, waitMs);
    }
  }
}

/** The copies of one log. */
class LogCopies {
  readonly #log: ShippedLog;
  readonly #shippers = new Map<string, LogShipper>();
  /** By coordinator: what it said last, and by which key. */
  readonly #kept = new Map<string, { readonly kept: number; readonly kid: string }>();
  #newest: { readonly note: string; readonly size: number } | undefined;

  constructor(log: ShippedLog) {
    this.#log = log;
  }

  offer(note: string): void {
    const head = headOf(note);
    if (head === undefined) return;
    this.#newest = { note, size: head.size };
    for (const shipper of this.#shippers.values()) shipper.offer(this.#newest);
  }

  shipTo(names: readonly string[], options: Omit<LogShippingOptions, "logs">): void {
    for (const [replica, shipper] of this.#shippers) {
      if (names.includes(replica)) continue;
      // One that was removed from the mesh is not one of those that have to have it.
      shipper.stop();
      this.#shippers.delete(replica);
      this.#kept.delete(replica);
    }
    for (const replica of names) {
      if (this.#shippers.has(replica)) continue;
      const shipper: LogShipper = new LogShipper({
        ...options,
        ...this.#log,
        replica,
        onKept: (kept, kid) => {
          if (this.#shippers.get(replica) !== shipper) return;
          // What was said last comes last.
          this.#kept.delete(replica);
          this.#kept.set(replica, { kept, kid });
        },
      });
      this.#shippers.set(replica, shipper);
      if (this.#newest !== undefined) shipper.offer(this.#newest);
    }
  }

  askAgain(): void {
    for (const shipper of this.#shippers.values()) shipper.askAgain();
  }

  /** Entries that so many coordinators have. One may speak under several names; what its key said last counts. */
  keptBy(count: number): number {
    const ofKey = new Map([...this.#kept.values()].map(({ kept, kid }) => [kid, kept] as const));
    return [...ofKey.values()].sort((a, b) => b - a)[count - 1] ?? 0;
  }

  stop(): void {
    for (const shipper of this.#shippers.values()) shipper.stop();
  }
}
