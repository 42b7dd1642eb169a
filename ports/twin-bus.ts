import { type AppendOptions, type Bus, BusFault, type BusMessage } from "./bus.ts";
import type { Clock } from "./clock.ts";

/** Which way a message goes, seen from this connection. */
export type BusWay = "out" | "in";

/**
 * What becomes of a message: one entry for each copy that arrives, its delay in milliseconds. None:
 * it is lost. Two: it comes twice. Different delays let messages overtake one another.
 */
export type Fate = readonly number[];

/** What becomes of an append: both failures look the same to the caller. */
export type AppendFate = "good" | "not_stored" | "stored_unanswered";

export type BusFaults = {
  readonly fate?: (way: BusWay, subject: string) => Fate;
  readonly appendFate?: (subject: string) => AppendFate;
  /** Runs the delays. Without one every copy comes at once. */
  readonly clock?: Clock;
};

export type TwinBus = Bus & {
  /** Lets nothing pass that way from now on. Both ways cut is a connection that is down. */
  cut(way: BusWay): void;
  /** Lets everything pass again; `onUp` follows if the connection was down. */
  heal(): void;
};

const AT_ONCE: Fate = [0];

/** Puts a connection's faults under the hand of a test. Without faults it is the connection. */
export function twinBus(inner: Bus, faults: BusFaults = {}): TwinBus {
  return new FaultyBus(inner, faults);
}

class FaultyBus implements TwinBus {
  readonly #inner: Bus;
  readonly #faults: BusFaults;
  readonly #cut = new Set<BusWay>();
  readonly #onUp: (() => void)[] = [];

  constructor(inner: Bus, faults: BusFaults) {
    this.#inner = inner;
    this.#faults = faults;
    inner.onUp(() => this.#tellUp());
  }

  cut(way: BusWay): void {
    this.#cut.add(way);
  }

  heal(): void {
    const wasDown = !this.isUp();
    this.#cut.clear();
    if (wasDown) queueMicrotask(() => this.#tellUp());
  }

  send(subject: string, bytes: Uint8Array): void {
    this.#pass("out", subject, () => this.#inner.send(subject, bytes));
  }

  listen(pattern: string, fn: (message: BusMessage) => void): () => void {
    let isStopped = false;
    const stop = this.#inner.listen(pattern, (message) => {
      this.#pass("in", message.subject, () => {
        if (!isStopped) fn(message);
      });
    });
    return () => {
      isStopped = true;
      stop();
    };
  }

  async ask(subject: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    this.#mustBeUp();
    const isLost = this.#isLost("out", subject);
    const isAnswerLost = this.#isLost("in", subject);
    if (isLost) throw new BusFault("timeout", `${subject} was lost`);
    const answer = await this.#inner.ask(subject, bytes, timeoutMs);
    if (isAnswerLost || this.#cut.has("in")) {
      throw new BusFault("timeout", `the answer to ${subject} was lost`);
    }
    return answer;
  }

  async append(
    subject: string,
    bytes: Uint8Array,
    options: AppendOptions,
  ): Promise<{ readonly seq: number } | "conflict"> {
    this.#mustBeUp();
    const fate = this.#faults.appendFate?.(subject) ?? "good";
    if (fate === "not_stored" || this.#cut.has("out")) {
      throw new BusFault("unknown", `${subject} was lost on its way`);
    }
    const outcome = await this.#inner.append(subject, bytes, options);
    if (fate === "stored_unanswered" || this.#cut.has("in")) {
      throw new BusFault("unknown", `the answer to ${subject} was lost`);
    }
    return outcome;
  }

  async read(stream: string, fromSeq: number, count: number): Promise<readonly BusMessage[]> {
    this.#mustReach(stream);
    return this.#inner.read(stream, fromSeq, count);
  }

  async last(stream: string, subject: string): Promise<BusMessage | undefined> {
    this.#mustReach(stream);
    return this.#inner.last(stream, subject);
  }

  onUp(fn: () => void): void {
    this.#onUp.push(fn);
    queueMicrotask(() => {
      if (this.isUp()) fn();
    });
  }

  isUp(): boolean {
    return this.#inner.isUp() && this.#cut.size < 2;
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #tellUp(): void {
    if (!this.isUp()) return;
    for (const fn of this.#onUp) fn();
  }

  #mustBeUp(): void {
    if (this.#cut.size === 2) throw new BusFault("closed", "no connection");
  }

  #mustReach(what: string): void {
    this.#mustBeUp();
    if (this.#cut.size > 0) throw new BusFault("timeout", `${what} is cut off`);
  }

  #isLost(way: BusWay, subject: string): boolean {
    return this.#cut.has(way) || (this.#faults.fate?.(way, subject) ?? AT_ONCE).length === 0;
  }

  #pass(way: BusWay, subject: string, deliver: () => void): void {
    const copies = this.#cut.has(way) ? [] : (this.#faults.fate?.(way, subject) ?? AT_ONCE);
    const { clock } = this.#faults;
    for (const delayMs of copies) {
      if (delayMs > 0 && clock) clock.after(delayMs, deliver);
      else deliver();
    }
  }
}
