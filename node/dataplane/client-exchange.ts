import assert from "node:assert/strict";
import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Reason } from "../../proto/reasons.ts";
import type { AtOnce } from "../at-once.ts";
import type { Cost, Door } from "../decision/facts.ts";
import type { ConnectionInfo } from "../thread-messages.ts";
import type { ClientWire } from "./client-wire.ts";
import type { Connections, CuttingLevel, OpenExchange } from "./connections.ts";
import {
  type Answer,
  type Cut,
  type Exchange,
  isUnheard,
  type RequestHead,
  type Via,
} from "./exchange.ts";
import type { GatewayLimits } from "./gateway-limits.ts";
import type { KeyMemo } from "./key-memo.ts";
import { discard, type LingerPlaces } from "./lingering-close.ts";
import { type BodyLimits, RequestBody } from "./request-body.ts";
import type { ConnectTarget } from "./tunnel/connect-head.ts";
import { forProxied } from "./tunnel/proxy-challenge.ts";

/** What every exchange of a door shares. */
export type ExchangeHost = {
  readonly door: Door;
  readonly clock: Clock;
  readonly limits: GatewayLimits;
  readonly registry: Connections;
  readonly places: LingerPlaces;
  /** A bug in the code that serves an exchange; the exchange itself has been ended. */
  readonly onFault: (error: unknown) => void;
};

/** The connection that carries an exchange, as the exchange sees it. */
export type Carrier = {
  readonly id: string;
  readonly via: Via | undefined;
  readonly keyMemo?: KeyMemo;
  /** False: the answer is this connection's last. */
  mayGoOn(): boolean;
  /** The exchange is over. `reusable`: the next request may be served. */
  exchangeOver(options: { readonly reusable: boolean }): void;
};

export type ExchangeInput = {
  readonly requestId: string;
  readonly head: RequestHead;
  readonly headAtNs: bigint;
  /** Content-Length; `undefined` for a body that says its length by its end. */
  readonly bodyBytes: number | undefined;
  readonly expectsContinue: boolean;
  readonly wire: ClientWire;
  readonly proxied?: ConnectTarget;
};

/**
 * `waiting`: nothing was said yet. `begun`: an answer is being relayed. `said`: all of it was
 * handed to the socket. `refused`: likewise, it is an error, and the connection closes after it. `cut`: broken off by us.
 */
type Phase = "waiting" | "begun" | "said" | "refused" | "cut" | "closed";

/**
 * An exchange with a client over HTTP. See `Exchange` for what each member promises.
 *
 * Calls that come after the client went away or a cut took the connection do nothing: both happen
 * at any moment, and the caller has been told by then.
 */
export class ClientExchange implements Exchange, OpenExchange {
  readonly requestId: string;
  readonly door: Door;
  readonly head: RequestHead;
  readonly headAtNs: bigint;
  readonly via?: Via;
  readonly proxied?: ConnectTarget;
  readonly keyMemo?: KeyMemo;
  filed: OpenExchange["filed"] = undefined;
  readonly #host: ExchangeHost;
  readonly #carrier: Carrier;
  readonly #wire: ClientWire;
  readonly #body: RequestBody;
  #expectsContinue: boolean;
  #phase: Phase = "waiting";
  #agentId = "";
  #cut: Cut | undefined;
  /** Set when the request's bytes cannot be parsed any further: its end will never come. */
  #inputBroken: Reason | undefined;
  /** The answer declared its length, so no frame can be added to it. */
  #hasLength = false;
  #closes = false;
  #streaming = false;
  #isToolStream = false;
  #held: Cost | undefined;
  #bytesDown = 0;
  #cancelStalled: Cancel | undefined;
  /** When all of the answer has to be taken, monotonic ns; undefined while more of it may come. */
  #takenByNs: bigint | undefined;
  #onCut: ((cut: Cut) => void)[] | undefined;
  #onGone: (() => void)[] | undefined;
  #onUnread: ((piece: Uint8Array) => void) | undefined;

  constructor(host: ExchangeHost, carrier: Carrier, input: ExchangeInput) {
    this.requestId = input.requestId;
    this.door = carrier.via?.door ?? host.door;
    if (carrier.via !== undefined) this.via = carrier.via;
    if (input.proxied !== undefined) this.proxied = input.proxied;
    if (carrier.keyMemo !== undefined) this.keyMemo = carrier.keyMemo;
    this.head = input.head;
    this.headAtNs = input.headAtNs;
    this.#host = host;
    this.#carrier = carrier;
    this.#wire = input.wire;
    this.#expectsContinue = input.expectsContinue;
    this.#body = new RequestBody(input.wire.body, input.bodyBytes);
  }

  claim(agentId: string, contractId: string | undefined): void {
    this.#agentId = agentId;
    this.#host.registry.claim(this, agentId, contractId);
  }

  readBody(limits: BodyLimits): AtOnce<Buffer | Reason> {
    if (this.#phase === "closed") return "client_gone";
    if (this.#cut !== undefined) return reasonOf(this.#cut);
    if (this.#inputBroken !== undefined) return this.#inputBroken;
    const body = this.#body.read(limits, this.#host.clock);
    if (this.#expectsContinue && this.#body.isReading()) {
      this.#expectsContinue = false;
      this.#wire.sayContinue();
    }
    return body;
  }

  onUnread(fn: (piece: Uint8Array) => void): void {
    this.#onUnread = fn;
  }

  answer(answer: Answer): void {
    if (!this.#mayBegin()) return;
    if (isUnheard(this.#cut, this.door)) {
      this.cut(undefined);
      return;
    }
    const { status, headers, body } =
      this.proxied === undefined ? answer : forProxied(answer, this.head.rawHeaders);
    const unread = !this.#body.isComplete();
    this.#closes = status >= 400 || unread || !this.#carrier.mayGoOn();
    // Why somebody is refused may be read to its end; what was allowed ends with a kill, however it was asked for.
    this.#phase = status >= 400 ? "refused" : "said";
    this.#writeHead(status, headers, body.byteLength);
    const wire = this.#wire;
    if (!unread || this.#inputBroken !== undefined) {
      this.#endResponse(body);
      return;
    }
    wire.endUnread(body);
    discard({
      source: wire.body,
      holder: this.#agentId,
      places: this.#host.places,
      onPiece: this.#onUnread,
      done: (outcome) => {
        wire.unreadOver(outcome);
        this.#watchUnsent();
      },
    });
  }

  begin(status: number, headers: readonly string[]): void {
    if (!this.#mayBegin()) return;
    this.#closes = !this.#body.isComplete() || !this.#carrier.mayGoOn();
    this.#phase = "begun";
    this.#writeHead(status, headers, undefined);
    this.#wire.flushHead();
  }

  write(chunk: Uint8Array): boolean {
    if (this.#phase !== "begun") return true;
    this.#bytesDown += chunk.byteLength;
    const roomLeft = this.#wire.write(chunk);
    if (!roomLeft) this.#watchReader();
    return roomLeft;
  }

  onDrain(fn: () => void): void {
    this.#wire.onDrain(fn);
  }

  end(): void {
    if (this.#phase !== "begun") return;
    this.#phase = "said";
    this.#endResponse();
  }

  cut(lastFrame: Uint8Array | undefined): void {
    if (this.#phase === "closed" || this.#phase === "cut") return;
    const frameFits = this.#phase === "begun" && !this.#hasLength && lastFrame !== undefined;
    const begun = this.#phase !== "waiting";
    this.#phase = "cut";
    this.#closes = true;
    this.#cancelStalled?.();
    if (!begun || isUnheard(this.#cut, this.door)) {
      this.reset();
      return;
    }
    // A frame that names the cut is a whole answer. Without one the answer is left unfinished,
    // which the client's HTTP reader reports: neither is ever taken for an end.
    this.#wire.cut(frameFits ? lastFrame : undefined);
    this.#host.registry.expectClose(this);
  }

  onCut(fn: (cut: Cut) => void): void {
    if (this.#cut !== undefined) {
      fn(this.#cut);
      return;
    }
    this.#onCut ??= [];
    this.#onCut.push(fn);
  }

  onGone(fn: () => void): void {
    if (this.#phase === "closed") {
      if (!this.#wire.isFinished()) fn();
      return;
    }
    this.#onGone ??= [];
    this.#onGone.push(fn);
  }

  markStreaming(): void {
    this.#streaming = true;
  }

  markToolStream(): void {
    this.#isToolStream = true;
  }

  /** Other requests over HTTP end by themselves, within what they hold. */
  endsAt(level: CuttingLevel): boolean {
    return level === "quarantine" && this.#isToolStream;
  }

  /** What the request holds in its accounts, for lists of connections. */
  setHeld(held: Cost | undefined): void {
    this.#held = held;
  }

  /** True while nothing was said to the client. */
  isUnanswered(): boolean {
    return this.#phase === "waiting";
  }

  /** True once all of an answer was said, or the one that had begun was broken off. */
  isSaid(): boolean {
    return this.#phase === "said" || this.#phase === "refused" || this.#phase === "cut";
  }

  /** True once it was told to end, or ended so. */
  isCut(): boolean {
    return this.#cut !== undefined || this.#phase === "cut";
  }

  isOpen(): boolean {
    return this.#phase !== "refused" && this.#phase !== "closed";
  }

  info(nowNs: bigint): ConnectionInfo {
    return {
      id: this.#carrier.id,
      agentId: this.#agentId,
      door: this.door,
      peer: this.head.peer,
      requestId: this.requestId,
      streaming: this.#streaming,
      ageMs: Number((nowNs - this.headAtNs) / 1_000_000n),
      bytesUp: this.#body.receivedBytes,
      bytesDown: this.#bytesDown,
      held: this.#held,
    };
  }

  cutFromOutside(cut: Cut): void {
    if (this.#cut !== undefined || this.#phase === "cut" || !this.isOpen()) return;
    this.#cut = cut;
    this.#closes = true;
    this.#body.fail(reasonOf(cut));
    if (this.#phase === "said") return;
    const hooks = this.#onCut ?? [];
    this.#onCut = undefined;
    // One leg's bug must not leave the other leg open.
    for (const hook of hooks) this.#run(() => hook(cut));
  }

  reset(): void {
    this.#wire.reset();
  }

  /** The bytes after what was parsed are not HTTP, or came too slowly. */
  breakInput(reason: Reason): void {
    if (this.#body.isComplete()) return;
    this.#inputBroken = reason;
    this.#body.fail(reason);
    if (this.#phase === "refused" || this.#phase === "said") this.#endResponse();
  }

  /** The answer was handed over whole. */
  answerSaid(): void {
    if (this.#phase === "closed") return;
    // An exchange that ends its connection is over when the connection is.
    if (this.#closes) this.#wire.closeSoon();
    else this.#end({ gone: false });
  }

  /** Nothing more can be said or heard. */
  wireClosed(): void {
    if (this.#phase === "closed") return;
    const over = this.#phase === "cut" || this.#phase === "refused";
    this.#end({ gone: !over && !this.#wire.isFinished() });
  }

  #mayBegin(): boolean {
    if (this.#phase === "closed" || this.#phase === "cut") return false;
    assert.equal(this.#phase, "waiting", "an exchange is answered once");
    return true;
  }

  /** Content-Length and Connection are this file's alone: two of either would be two readings. */
  #writeHead(status: number, headers: readonly string[], length: number | undefined): void {
    const all = [...headers];
    for (let i = 0; i < headers.length; i += 2) {
      const name = headers[i] as string;
      // Their lengths tell nearly all other headers apart without another copy of the name.
      if (name.length !== 10 && name.length !== 14 && name.length !== 17) continue;
      const lowerCase = name.toLowerCase();
      const ours = lowerCase === "connection" || lowerCase === "transfer-encoding";
      assert(!ours, `${name} is not the caller's`);
      if (lowerCase === "content-length") this.#hasLength = true;
    }
    if (length !== undefined) {
      assert(!this.#hasLength, "content-length follows from the body");
      all.push("content-length", String(length));
    }
    const hasLength = this.#hasLength || length !== undefined;
    this.#wire.writeHead(status, all, { closes: this.#closes, hasLength });
  }

  /** What the kernel does not take at once may stand for ever if the client never reads. */
  #endResponse(body?: Uint8Array): void {
    this.#wire.end(body);
    this.#watchUnsent();
  }

  /** From here on nothing is said any more that could keep somebody who takes a byte now and then. */
  #watchUnsent(): void {
    if (this.#wire.unsentBytes() === 0) return;
    const { clock, limits } = this.#host;
    this.#takenByNs = clock.monoNs() + BigInt(limits.slowReaderMs) * 1_000_000n;
    this.#watchReader();
  }

  #watchReader(): void {
    this.#cancelStalled?.();
    const wire = this.#wire;
    const takenBytes = wire.takenBytes();
    const { clock, limits } = this.#host;
    this.#cancelStalled = clock.after(limits.stalledReaderMs, () => {
      if (wire.unsentBytes() === 0) return;
      const isLate = this.#takenByNs !== undefined && clock.monoNs() >= this.#takenByNs;
      if (wire.takenBytes() > takenBytes && !isLate) this.#watchReader();
      else this.reset();
    });
  }

  #end({ gone }: { readonly gone: boolean }): void {
    this.#phase = "closed";
    this.#cancelStalled?.();
    this.#body.fail("client_gone");
    this.#host.registry.remove(this);
    this.#carrier.exchangeOver({ reusable: !gone && !this.#closes });
    if (gone) for (const hook of this.#onGone ?? []) this.#run(hook);
  }

  #run(hook: () => void): void {
    try {
      hook();
    } catch (error) {
      this.reset();
      this.#host.onFault(error);
    }
  }
}

/** The reason that whoever waits for something of a cut exchange is given. */
export function reasonOf(cut: Cut): Reason {
  return cut.by === "reason" ? cut.reason : `killed_${cut.by}`;
}
