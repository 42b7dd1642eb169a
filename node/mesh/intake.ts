import type { BusMessage } from "../../ports/bus.ts";
import type { Clock } from "../../ports/clock.ts";
import { FAST_PREFIX } from "../../proto/subjects.ts";
import { beginKillReading, endKillReading } from "../table/kill-reading.ts";
import type { Table } from "../table/table.ts";
import type { HostStall, StallMark } from "./host-stall.ts";

/** Work of one turn after which other events of this thread come first, nanoseconds. */
export const SLICE_NS = 500_000n;
/** Bytes that may wait. What comes beyond is dropped, and found again by repair. */
export const QUEUED_BYTES_MAX = 32 * 1024 * 1024;

const KILL_PREFIX = `${FAST_PREFIX}kill.`;

/** A record as it came, and when: monotonic nanoseconds at the bus's callback. */
export type Arrival = {
  readonly subject: string;
  readonly bytes: Uint8Array;
  /** Present if and only if the message is committed. */
  readonly seq: number | undefined;
  readonly receivedNs: bigint;
  readonly stallMark: StallMark;
};

export type IntakeDeps = {
  readonly table: Table;
  readonly clock: Clock;
  readonly stall: HostStall;
  /** Resolves after other events of this thread had their turn. */
  readonly nextTurn: () => Promise<void>;
  readonly take: (arrival: Arrival) => void;
  /** Something was dropped. */
  readonly overflow: () => void;
};

/**
 * Brings live records in.
 *
 * A kill is taken inside the bus's callback, always: it waits for nothing, not even for what earlier
 * kills have yet to do once their cells are stored. Everything else is done in slices, so that a burst
 * of it never holds the thread for long.
 */
export class Intake {
  readonly #deps: IntakeDeps;
  readonly #afterwards: (() => void)[] = [];
  readonly #others: Arrival[] = [];
  #queuedBytes = 0;
  #sliceStartNs = 0n;
  #isInSlice = false;
  #isBusy = false;

  constructor(deps: IntakeDeps) {
    this.#deps = deps;
  }

  push({ subject, bytes, seq }: BusMessage): void {
    const { clock, stall, table } = this.#deps;
    const receivedNs = clock.monoNs();
    const isKill = subject.startsWith(KILL_PREFIX);
    // First of all: however long the host holds this thread up now, nothing passes meanwhile.
    if (isKill) beginKillReading(table, receivedNs);
    const stallMark = stall.mark(receivedNs);
    const arrival = { subject, bytes, seq, receivedNs, stallMark };
    if (!this.#isInSlice) this.#sliceStartNs = receivedNs;
    if (isKill) {
      this.#readKill(arrival);
    } else if (this.#queuedBytes + bytes.length > QUEUED_BYTES_MAX) {
      this.#deps.overflow();
      return;
    } else {
      this.#others.push(arrival);
      this.#queuedBytes += bytes.length;
    }
    this.#go();
  }

  #readKill(arrival: Arrival): void {
    try {
      this.#work(() => this.#deps.take(arrival));
    } finally {
      endKillReading(this.#deps.table);
    }
  }

  /** Has `fn` run when no kill is being taken, in order of the calls. */
  defer(fn: () => void): void {
    if (!this.#isInSlice && !this.#isBusy) this.#sliceStartNs = this.#deps.clock.monoNs();
    this.#afterwards.push(fn);
    this.#go();
  }

  get queued(): number {
    return this.#afterwards.length + this.#others.length;
  }

  #go(): void {
    if (this.#isBusy) return;
    this.#drain();
    if (!this.#isInSlice) void this.#run();
  }

  /** One slice a turn until nothing waits; the first one was begun by the caller. */
  async #run(): Promise<void> {
    this.#isInSlice = true;
    await this.#deps.nextTurn();
    while (this.queued > 0) {
      this.#sliceStartNs = this.#deps.clock.monoNs();
      this.#drain();
      await this.#deps.nextTurn();
    }
    this.#isInSlice = false;
  }

  /** Takes what fits into what is left of this turn. */
  #drain(): void {
    this.#work(() => {
      while (this.#deps.clock.monoNs() - this.#sliceStartNs < SLICE_NS) {
        if (!this.#takeNext()) return;
      }
    });
  }

  #takeNext(): boolean {
    const then = this.#afterwards.shift();
    if (then) {
      then();
      return true;
    }
    const arrival = this.#others.shift();
    if (!arrival) return false;
    this.#queuedBytes -= arrival.bytes.length;
    this.#deps.take(arrival);
    return true;
  }

  /** What `fn` defers waits until it has returned. */
  #work(fn: () => void): void {
    this.#isBusy = true;
    try {
      fn();
    } finally {
      this.#isBusy = false;
    }
  }
}
