import type { Answer, Cut, Exchange } from "../../../../node/dataplane/exchange.ts";

/** An exchange whose client is the test: what it was told, in order. */
export class RecordedExchange implements Exchange {
  readonly requestId = "0190-req";
  readonly door = "gateway";
  readonly head = { method: "POST", target: "/", rawHeaders: [], peer: "127.0.0.1" };
  readonly headAtNs = 0n;
  /** False makes `write` ask for a pause. */
  writable = true;
  begun: { readonly status: number; readonly headers: readonly string[] } | undefined;
  answered: Answer | undefined;
  ended = false;
  lastFrame: string | undefined;
  streaming = false;
  toolStream = false;
  readonly #written: Uint8Array[] = [];
  readonly #drains: (() => void)[] = [];
  readonly #cuts: ((cut: Cut) => void)[] = [];
  readonly #gone: (() => void)[] = [];

  /** What the client has received, the last frame of a cut left out. */
  get written(): string {
    return Buffer.concat(this.#written).toString();
  }

  get writes(): number {
    return this.#written.length;
  }

  drain(): void {
    this.writable = true;
    for (const fn of this.#drains) fn();
  }

  cutFromOutside(cut: Cut): void {
    for (const fn of this.#cuts) fn(cut);
  }

  leave(): void {
    for (const fn of this.#gone) fn();
  }

  claim(): void {}

  readBody(): Promise<Buffer> {
    return Promise.resolve(Buffer.alloc(0));
  }

  onUnread(): void {}

  answer(answer: Answer): void {
    this.#assertOpen();
    if (this.begun !== undefined) throw new Error("answered after it was begun");
    this.answered = answer;
  }

  begin(status: number, headers: readonly string[]): void {
    this.#assertOpen();
    if (this.begun !== undefined) throw new Error("begun twice");
    this.begun = { status, headers };
  }

  write(chunk: Uint8Array): boolean {
    this.#assertOpen();
    if (this.begun === undefined) throw new Error("written before it was begun");
    this.#written.push(Uint8Array.from(chunk));
    return this.writable;
  }

  onDrain(fn: () => void): void {
    this.#drains.push(fn);
  }

  end(): void {
    this.#assertOpen();
    this.ended = true;
  }

  cut(lastFrame: Uint8Array | undefined): void {
    this.#assertOpen();
    this.lastFrame = lastFrame === undefined ? "" : Buffer.from(lastFrame).toString();
  }

  onCut(fn: (cut: Cut) => void): void {
    this.#cuts.push(fn);
  }

  onGone(fn: () => void): void {
    this.#gone.push(fn);
  }

  setHeld(): void {}

  markStreaming(): void {
    this.streaming = true;
  }

  markToolStream(): void {
    this.toolStream = true;
  }

  #assertOpen(): void {
    if (this.ended || this.answered !== undefined || this.lastFrame !== undefined) {
      throw new Error("told something after its end");
    }
  }
}
