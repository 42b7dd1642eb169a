import type { ClosablePort } from "../../node/thread-port.ts";
import type { Draw } from "./draw.ts";
import type { SimProcess } from "./sim-process.ts";

/** How long a message between two threads of one process takes, milliseconds. */
const USUAL_MS = 0.3;
/** A thread that has much to do, or is not run by its host, is heard of this late. */
const STALLED_MS = 150;
const STALLED_SHARE = 0.04;

/**
 * A way between two threads of one process: copies, in the order of the calls, each after a delay.
 */
export function simChannel(process: SimProcess, draw: Draw): readonly [ClosablePort, ClosablePort] {
  const left = new ChannelEnd(process, draw);
  const right = new ChannelEnd(process, draw);
  left.peer = right;
  right.peer = left;
  return [left, right];
}

class ChannelEnd implements ClosablePort {
  peer: ChannelEnd | undefined;
  readonly #process: SimProcess;
  readonly #draw: Draw;
  readonly #listeners: ((message: never) => void)[] = [];
  readonly #arrived: unknown[] = [];
  #isClosed = false;

  constructor(process: SimProcess, draw: Draw) {
    this.#process = process;
    this.#draw = draw;
  }

  postMessage(message: unknown): void {
    const { peer } = this;
    if (this.#isClosed || peer === undefined || !this.#process.isAlive) return;
    peer.#arrived.push(structuredClone(message));
    const isStalled = this.#draw.chance(STALLED_SHARE);
    const delayMs = this.#draw.unit() * (isStalled ? STALLED_MS : USUAL_MS);
    this.#process.clock.after(delayMs, () => peer.#deliver());
  }

  on<Message>(event: "message" | "close", fn: (message: Message) => void): this {
    if (event === "message") this.#listeners.push(fn);
    return this;
  }

  close(): void {
    this.#isClosed = true;
  }

  /** Whatever came first is heard first, however the delays were drawn. */
  #deliver(): void {
    if (this.#isClosed || this.#listeners.length === 0) return;
    const message = this.#arrived.shift();
    for (const listener of this.#listeners) listener(message as never);
  }
}
