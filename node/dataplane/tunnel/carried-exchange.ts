import type { Socket } from "node:net";
import type { Clock } from "../../../ports/clock.ts";
import type { Reason } from "../../../proto/reasons.ts";
import type { Cost, Door } from "../../decision/facts.ts";
import type { ConnectionInfo } from "../../thread-messages.ts";
import { reasonOf } from "../client-exchange.ts";
import type { Connections, OpenExchange } from "../connections.ts";
import { type Answer, type Cut, isUnheard, type RequestHead } from "../exchange.ts";
import { answerHead } from "../http1/answer-head.ts";
import { answerAndClose, type LingerPlaces } from "../lingering-close.ts";
import { resetConnection } from "../reset-connection.ts";

/** What everything of a door shares that is carried. */
export type CarryHost = {
  readonly clock: Clock;
  readonly registry: Connections;
  readonly places: LingerPlaces;
  /** A bug in the code that serves it; it has been reset. */
  readonly onFault: (error: unknown) => void;
};

export type CarriedInput = {
  readonly requestId: string;
  readonly door: Door;
  readonly head: RequestHead;
  readonly headAtNs: bigint;
  readonly socket: Socket;
  /** What the client sent behind the head of its request. */
  readonly first: Uint8Array;
};

/**
 * `asked`: the client waits for the answer to its request over HTTP. `greeting`: it may speak, and
 * nothing is carried yet. `passing`: both legs stand. `refused`: what was to be said was said.
 */
type Phase = "asked" | "greeting" | "passing" | "refused" | "closed";

/**
 * A client's connection that is to carry something unread, and the connection that carries it on.
 *
 * T1. It is registered before anything about it is checked, and stays so until both legs are closed.
 * T2. A cut resets both legs, at once and whatever state they are in.
 */
export abstract class CarriedExchange implements OpenExchange {
  readonly requestId: string;
  readonly door: Door;
  readonly head: RequestHead;
  readonly headAtNs: bigint;
  readonly socket: Socket;
  filed: OpenExchange["filed"] = undefined;
  bytesUp = 0;
  bytesDown = 0;
  protected first: Uint8Array;
  readonly #host: CarryHost;
  #phase: Phase;
  #agentId = "";
  #upstream: Socket | undefined;
  /** Counted: a TLS connection that is reset is not `closed` yet when it says that it is (Node 26.10). */
  #openLegs = 1;
  #held: Cost | undefined;
  #cut: Cut | undefined;
  #onCut: (cut: Cut) => void = () => {};
  #onClosed: () => void = () => {};
  #isHandedOver = false;
  #isArrivingWithin: () => boolean = () => false;
  /** Since when it has been the client's turn to say its first word. */
  #silentSinceNs: bigint | undefined;
  #upNs = 0n;
  #downNs = 0n;

  /** @param isAsked The client has asked over HTTP, and waits for an answer. */
  constructor(host: CarryHost, input: CarriedInput, { isAsked }: { readonly isAsked: boolean }) {
    this.requestId = input.requestId;
    this.door = input.door;
    this.head = input.head;
    this.headAtNs = input.headAtNs;
    this.socket = input.socket;
    this.first = input.first;
    this.#host = host;
    this.#phase = isAsked ? "asked" : "greeting";
    this.#silentSinceNs = isAsked ? undefined : input.headAtNs;
    this.socket.on("error", ignore);
    this.socket.on("close", () => this.#legClosed());
    host.registry.register(this);
  }

  /** An answer as it stands on the wire. */
  protected abstract answerBytes(answer: Answer, of: { readonly isAsked: boolean }): Uint8Array;

  /** The last words to a client that has been let speak; undefined: there are none. */
  protected abstract lastWords(reason: Reason): Uint8Array | undefined;

  claim(agentId: string, contractId: string | undefined): void {
    this.#agentId = agentId;
    this.#host.registry.claim(this, agentId, contractId);
  }

  setHeld(held: Cost | undefined): void {
    this.#held = held;
  }

  /** Why it was cut, if it was. */
  get cutReason(): Reason | undefined {
    return this.#cut && reasonOf(this.#cut);
  }

  /** The refusal, in what the client speaks by now. */
  answer(answer: Answer): void {
    if (this.#phase === "closed" || this.#phase === "refused") return;
    const isAsked = this.#phase === "asked";
    this.#phase = "refused";
    const bytes = this.answerBytes(answer, { isAsked });
    answerAndClose(this.socket, bytes, this.#agentId, this.#host.places);
  }

  /** Tells the client that it may speak. @throws Error As `answerHead` does. */
  protected establishBy(status: 101 | 200, headers: readonly string[]): void {
    if (this.#phase !== "asked") return;
    const head = answerHead(status, headers);
    this.#phase = "greeting";
    this.#silentSinceNs = this.#host.clock.monoNs();
    this.socket.write(`${head}\r\n`, "latin1");
  }

  /** The client's first word is there, whatever comes of it. */
  protected heard(): void {
    this.#silentSinceNs = undefined;
  }

  /** What the client has sent so far. */
  takeFirst(): Uint8Array {
    return this.first;
  }

  /** The other leg, from the moment in which it is dialled. */
  carryTo(upstream: Socket): void {
    this.#upstream = upstream;
    upstream.on("error", ignore);
    if (!upstream.closed) {
      this.#openLegs += 1;
      upstream.on("close", () => this.#legClosed());
    }
    if (this.#phase === "closed" || this.#cut !== undefined) resetLeg(upstream);
    // It was gone before anybody listened for that.
    else if (upstream.destroyed) this.reset();
    else this.#phase = "passing";
  }

  /**
   * Somebody else reads the connection from here on; cuts are left to him for a moment.
   *
   * @param isArriving Whether nothing has been asked for on it yet.
   */
  handOver(isArriving: () => boolean): void {
    this.#isHandedOver = true;
    this.#isArrivingWithin = isArriving;
    this.#phase = "passing";
  }

  /** At most one: called at once when it was cut before. */
  onCut(fn: (cut: Cut) => void): void {
    if (this.#cut === undefined) this.#onCut = fn;
    else fn(this.#cut);
  }

  /** At most one: called once both legs are closed, at once if they are. */
  onClosed(fn: () => void): void {
    if (this.#phase === "closed") fn();
    else this.#onClosed = fn;
  }

  isOpen(): boolean {
    return this.#phase !== "refused" && this.#phase !== "closed";
  }

  isCarrier(): boolean {
    return this.#isHandedOver;
  }

  arrivingSinceNs(): bigint | undefined {
    const isArriving = this.#isHandedOver
      ? this.isOpen() && this.#isArrivingWithin()
      : this.#phase === "asked" || this.#phase === "greeting";
    return isArriving ? this.headAtNs : undefined;
  }

  silentSinceNs(): bigint | undefined {
    return this.#phase === "greeting" ? this.#silentSinceNs : undefined;
  }

  /** Bytes of the client's were carried. @param nowNs Monotonic now. */
  wentUp(bytes: number, nowNs: bigint): void {
    this.bytesUp += bytes;
    this.#upNs = nowNs;
  }

  /** The same of the far side's. */
  wentDown(bytes: number, nowNs: bigint): void {
    this.bytesDown += bytes;
    this.#downNs = nowNs;
  }

  lastCarried(): { readonly upNs: bigint; readonly downNs: bigint } | undefined {
    const isUnread = this.#phase === "passing" && !this.#isHandedOver;
    return isUnread ? { upNs: this.#upNs, downNs: this.#downNs } : undefined;
  }

  /** What was handed over is HTTP, whose requests are each told for themselves. */
  endsAt(): boolean {
    return !this.#isHandedOver;
  }

  cutFromOutside(cut: Cut): void {
    if (this.#cut !== undefined || !this.isOpen()) return;
    this.#cut = cut;
    try {
      this.#onCut(cut);
    } catch (error) {
      this.#host.onFault(error);
    }
    // The requests within say their last words; the reset that follows the flush ends the rest.
    if (!this.#isHandedOver || isUnheard(cut, this.door)) this.reset();
  }

  reset(): void {
    resetLeg(this.socket);
    if (this.#upstream !== undefined) resetLeg(this.#upstream);
  }

  /** The far side cannot be had: the client is told in its words. */
  fail(reason: Reason): void {
    if (this.#cut !== undefined || !this.isOpen()) return;
    this.#cut = { by: "reason", reason };
    const words = this.lastWords(reason);
    if (words !== undefined) this.socket.write(words);
    this.socket.end();
    this.socket.destroySoon();
    if (this.#upstream !== undefined) resetLeg(this.#upstream);
    this.#host.registry.expectClose(this);
  }

  /** Closed by us for a reason of its own, as a cut is. */
  close(reason: Reason): void {
    this.cutFromOutside({ by: "reason", reason });
    this.#host.registry.expectClose(this);
  }

  info(nowNs: bigint): ConnectionInfo {
    return {
      id: this.requestId,
      agentId: this.#agentId,
      door: this.door,
      peer: this.head.peer,
      requestId: this.requestId,
      streaming: true,
      ageMs: Number((nowNs - this.headAtNs) / 1_000_000n),
      bytesUp: this.bytesUp,
      bytesDown: this.bytesDown,
      held: this.#held,
    };
  }

  #legClosed(): void {
    this.#openLegs -= 1;
    if (this.#openLegs > 0 || this.#phase === "closed") return;
    this.#phase = "closed";
    this.#host.registry.remove(this);
    this.#onClosed();
  }
}

/** A connection that is still being made has nothing to reset. */
function resetLeg(socket: Socket): void {
  if (socket.connecting) socket.destroy();
  else resetConnection(socket);
}

/** Errors of a socket come with its close, which says all there is to know. */
function ignore(): void {}
