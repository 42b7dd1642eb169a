import { type Bus, BusFault } from "../ports/bus.ts";
import { type Clock, monoMs } from "../ports/clock.ts";
import { streamOf } from "../proto/subjects.ts";
import type { Tell } from "./events.ts";

/** A stream that stores nothing of what is appended to it. */
export type Unanswered = {
  /** From the first of the appends that came to nothing to the end of the last one, in ms. */
  readonly forMs: number;
  /** What the last of them met. */
  readonly error: string;
};

type Failing = {
  readonly sinceMs: number;
  lastMs: number;
  error: string;
  isTold: boolean;
};

/** An election of the stream's leader takes up to nine seconds, and is nobody's work. */
const TELL_AFTER_MS = 10_000;
/** Whoever still has something to append tries again within seconds; after so long nobody has. */
const QUIET_MS = 30_000;

/**
 * Whether streams take what this coordinator appends.
 *
 * A server whose disk was full while it wrote may take nothing more until it is started again, even when there
 * is room: it answers no append of that stream, and reads as ever. So an answer counts only where something was
 * stored; that a sequence is not the last one is said by such a server too.
 */
export class AppendWatch {
  readonly #clock: Clock;
  readonly #tell: Tell;
  readonly #failing = new Map<string, Failing>();

  constructor({ clock, tell }: { readonly clock: Clock; readonly tell: Tell }) {
    this.#clock = clock;
    this.#tell = tell;
  }

  /** The same bus, whose appends are looked at. */
  over(bus: Bus): Bus {
    return {
      send: (subject, bytes) => bus.send(subject, bytes),
      listen: (pattern, fn) => bus.listen(pattern, fn),
      ask: (subject, bytes, timeoutMs) => bus.ask(subject, bytes, timeoutMs),
      append: (...append) => this.#append(bus, append),
      read: (stream, fromSeq, count) => bus.read(stream, fromSeq, count),
      last: (stream, subject) => bus.last(stream, subject),
      onUp: (fn) => bus.onUp(fn),
      isUp: () => bus.isUp(),
      close: () => bus.close(),
    };
  }

  /** Undefined: the stream stores what it is given, or nobody gives it anything. */
  unanswered(stream: string): Unanswered | undefined {
    const failing = this.#failing.get(stream);
    if (!failing) return undefined;
    if (monoMs(this.#clock) - failing.lastMs <= QUIET_MS) {
      return { forMs: Math.ceil(failing.lastMs - failing.sinceMs), error: failing.error };
    }
    this.#failing.delete(stream);
    return undefined;
  }

  async #append(bus: Bus, append: Parameters<Bus["append"]>): ReturnType<Bus["append"]> {
    const stream = streamOf(append[0]) ?? "";
    const startedMs = monoMs(this.#clock);
    try {
      const outcome = await bus.append(...append);
      if (outcome !== "conflict") this.#stored(stream);
      return outcome;
    } catch (error) {
      if (error instanceof BusFault) this.#failed(stream, startedMs, error);
      throw error;
    }
  }

  #stored(stream: string): void {
    if (this.#failing.get(stream)?.isTold) this.#tell("stream_takes_again", { stream });
    this.#failing.delete(stream);
  }

  #failed(stream: string, startedMs: number, fault: BusFault): void {
    const before = this.unanswered(stream) && this.#failing.get(stream);
    const failing = before ?? { sinceMs: startedMs, lastMs: 0, error: "", isTold: false };
    failing.lastMs = monoMs(this.#clock);
    failing.error = String(fault);
    this.#failing.set(stream, failing);
    const forMs = Math.ceil(failing.lastMs - failing.sinceMs);
    if (failing.isTold || forMs < TELL_AFTER_MS) return;
    failing.isTold = true;
    this.#tell("stream_takes_nothing", { stream, for_ms: forMs, error: failing.error });
  }
}
