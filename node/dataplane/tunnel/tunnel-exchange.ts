import type { Socket } from "node:net";
import type { Clock } from "../../../ports/clock.ts";
import type { Reason } from "../../../proto/reasons.ts";
import type { Door } from "../../decision/facts.ts";
import type { ConnectionInfo } from "../../thread-messages.ts";
import { reasonOf } from "../client-exchange.ts";
import type { Connections, OpenExchange } from "../connections.ts";
import { type Answer, type Cut, isUnheard, type RequestHead } from "../exchange.ts";
import { answerAndClose, type LingerPlaces } from "../lingering-close.ts";
import { answerBytes } from "../refusal-answer.ts";
import { resetConnection } from "../reset-connection.ts";
import { tlsAlert } from "../tls/tls-alert.ts";
import type { ConnectTarget } from "./connect-head.ts";
import { forProxy } from "./proxy-challenge.ts";

/** What every tunnel of a door shares. */
export type TunnelHost = {
  readonly clock: Clock;
  readonly registry: Connections;
  readonly places: LingerPlaces;
  /** A bug in the code that serves a tunnel; the tunnel itself has been reset. */
  readonly onFault: (error: unknown) => void;
};

export type TunnelInput = {
  readonly requestId: string;
  readonly door: Door;
  readonly head: RequestHead;
  readonly headAtNs: bigint;
  readonly target: ConnectTarget;
  readonly socket: Socket;
  /** What the client sent behind the head of its request. */
  readonly first: Uint8Array;
  /** Where a captured connection was going, `address:port`. */
  readonly original: string | undefined;
};

/**
 * `asked`: the client waits for the answer to its CONNECT. `greeting`: it may speak, and is expected to
 * begin TLS. `passing`: both legs stand. `refused`: what was to be said was said.
 */
type Phase = "asked" | "greeting" | "passing" | "refused" | "closed";

/**
 * A client's connection that is to carry something unread, and the connection that carries it on.
 *
 * T1. It is registered before anything about it is checked, and stays so until both legs are closed.
 * T2. A cut resets both legs, at once and whatever state they are in.
 */
export class TunnelExchange implements OpenExchange {
  readonly requestId: string;
  readonly door: Door;
  readonly head: RequestHead;
  readonly headAtNs: bigint;
  /** Of a captured connection the host is known once its first message names it. */
  target: ConnectTarget;
  readonly original: string | undefined;
  readonly socket: Socket;
  readonly #host: TunnelHost;
  #first: Uint8Array;
  #phase: Phase;
  #agentId = "";
  #upstream: Socket | undefined;
  #cut: Cut | undefined;
  #onCut: (cut: Cut) => void = () => {};
  #onClosed: () => void = () => {};
  #isHandedOver = false;
  bytesUp = 0;
  bytesDown = 0;

  constructor(host: TunnelHost, input: TunnelInput) {
    this.requestId = input.requestId;
    this.door = input.door;
    this.head = input.head;
    this.headAtNs = input.headAtNs;
    this.target = input.target;
    this.original = input.original;
    this.socket = input.socket;
    this.#host = host;
    this.#first = input.first;
    this.#phase = input.door === "forward" ? "asked" : "greeting";
    this.socket.on("error", ignore);
    this.socket.on("close", () => this.#legClosed());
    host.registry.register(this);
  }

  claim(agentId: string, contractId: string | undefined): void {
    this.#agentId = agentId;
    this.#host.registry.claim(this, agentId, contractId);
  }

  /** Why it was cut, if it was. */
  get cutReason(): Reason | undefined {
    return this.#cut && reasonOf(this.#cut);
  }

  /** The refusal, in what the client speaks by now: HTTP, or TLS. */
  answer(answer: Answer): void {
    if (this.#phase === "closed" || this.#phase === "refused") return;
    const isHttp = this.#phase === "asked";
    this.#phase = "refused";
    if (isHttp) this.#end(answerBytes(forProxy(answer)));
    else this.#end(tlsAlert(reasonIn(answer)));
  }

  /** The host that a captured connection is for, and the message that said so. */
  name(host: string, first: Uint8Array): void {
    this.target = { host, port: this.target.port };
    this.#first = first;
  }

  /** Tells the client that it may speak. */
  establish(headers: readonly string[]): void {
    if (this.#phase !== "asked") return;
    this.#phase = "greeting";
    let text = "HTTP/1.1 200 Connection Established\r\n";
    for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
    this.socket.write(`${text}\r\n`);
  }

  /** What the client has sent so far. */
  takeFirst(): Uint8Array {
    return this.#first;
  }

  /** The other leg, from the moment in which it is dialled. */
  carryTo(upstream: Socket): void {
    this.#upstream = upstream;
    upstream.on("error", ignore);
    upstream.on("close", () => this.#legClosed());
    if (this.#phase === "closed" || this.#cut !== undefined) resetLeg(upstream);
    else this.#phase = "passing";
  }

  /** Somebody else reads the connection from here on; cuts are left to him for a moment. */
  handOver(): void {
    this.#isHandedOver = true;
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

  /** The far side cannot be had: the client, who has begun TLS, is told in its words. */
  fail(reason: Reason): void {
    if (this.#cut !== undefined || !this.isOpen()) return;
    this.#cut = { by: "reason", reason };
    this.socket.end(tlsAlert(reason));
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
      held: undefined,
    };
  }

  #end(bytes: Uint8Array): void {
    answerAndClose(this.socket, bytes, this.#agentId, this.#host.places);
  }

  #legClosed(): void {
    const isOpen = !this.socket.closed || (this.#upstream !== undefined && !this.#upstream.closed);
    if (isOpen || this.#phase === "closed") return;
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

function reasonIn({ headers }: Answer): Reason {
  return headers[headers.indexOf("x-altrace-reason") + 1] as Reason;
}

/** Errors of a socket come with its close, which says all there is to know. */
function ignore(): void {}
