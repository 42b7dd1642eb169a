import type { Clock } from "../ports/clock.ts";
import { type FlowEnds, flowNote } from "./kernel/flow-note.ts";

// Tells the gate's helper of connections that a loop has taken in. What stood when the helper last made its list it
// knows; for what is younger it would have to have the kernel walk its whole table again, which takes as long as all
// else that a kill does.
//
// F1. Nobody is woken by it, nothing waits for it, and nothing rests on it: what is not told is reset by its loop.
// F2. A pipe that is full, or that nobody reads, is left alone for REST_NS: an attempt that fails costs more than one
//     that does not.

export const REST_NS = 250_000_000n;

/** See `openNotePipe` of the adapters. */
export type NotePipe = { write(note: Uint8Array): boolean; close(): void };

export class FlowNotes {
  readonly #clock: Clock;
  readonly #open: () => NotePipe | undefined;
  #pipe: NotePipe | undefined;
  #notBeforeNs = 0n;

  /** @param open Undefined: there is no such pipe. */
  constructor(clock: Clock, open: () => NotePipe | undefined) {
    this.#clock = clock;
    this.#open = open;
  }

  tell(ends: FlowEnds): void {
    if (this.#notBeforeNs > 0n && this.#clock.monoNs() < this.#notBeforeNs) return;
    const note = flowNote(ends);
    if (note === undefined) return;
    this.#pipe ??= this.#open();
    if (this.#pipe?.write(note) === true) {
      this.#notBeforeNs = 0n;
      return;
    }
    this.close();
    this.#notBeforeNs = this.#clock.monoNs() + REST_NS;
  }

  close(): void {
    this.#pipe?.close();
    this.#pipe = undefined;
  }
}
