import type { Socket } from "node:net";
import { uuidV7 } from "../../../ports/random.ts";
import { type Carrier, ClientExchange } from "../client-exchange.ts";
import type { Via } from "../exchange.ts";
import { headOfConnection } from "../head-of-connection.ts";
import { type HeadViolation, isViolation, type ParsedHead } from "../head-rules.ts";
import { KeyMemo } from "../key-memo.ts";
import { answerAndClose } from "../lingering-close.ts";
import { peerOf } from "../peer-of.ts";
import { answerBytes, type DoorRefusal, refusalAnswer } from "../refusal-answer.ts";
import { type ServingHost, serveExchange } from "../serve-exchange.ts";
import { type AbsoluteTarget, readAbsolute } from "../tunnel/absolute-target.ts";
import { readConnect } from "../tunnel/connect-head.ts";
import { SessionExchange } from "../tunnel/session-exchange.ts";
import { TunnelExchange } from "../tunnel/tunnel-exchange.ts";
import { ClientInput } from "./client-input.ts";
import type { ConnectionWatch, Watched } from "./connection-watch.ts";
import { connectionWords } from "./connection-words.ts";
import { Http1Wire } from "./http1-wire.ts";
import type { ReceivedHead } from "./request-head.ts";

/** What all connections of a door share. */
export type ConnectionHost = ServingHost & {
  readonly watch: ConnectionWatch;
  /** What is said of a connection that goes on: for how long it is kept. */
  readonly keptLines: string;
  /** Of a forward proxy: called for each CONNECT, in the turn in which its head is complete. */
  readonly onTunnel: ((tunnel: TunnelExchange) => Promise<void>) | undefined;
};

/**
 * One client's TCP connection: its requests are served one at a time, in their order.
 *
 * C1. A request is read once the one before it is over, from the byte behind that one's last.
 * C2. What cannot be read is answered and is the last that is read: where the next message would begin nobody knows.
 * C3. A client that ends its side, or goes away, has given up what is under way.
 */
export class Http1Connection implements Carrier, Watched {
  readonly id: string;
  readonly socket: Socket;
  readonly peer: string;
  readonly via: Via | undefined;
  readonly keyMemo = new KeyMemo();
  /** A request has been served here, or is. */
  hasBegun = false;
  readonly #host: ConnectionHost;
  readonly #input: ClientInput;
  #current: ClientExchange | undefined;
  /** What comes after the current exchange is not answered any more. */
  #last = false;

  constructor(host: ConnectionHost, socket: Socket, id: string, via: Via | undefined) {
    this.#host = host;
    this.via = via;
    this.socket = socket;
    this.id = id;
    this.peer = peerOf(socket);
    socket.on("error", ignore);
    host.watch.opened(this);
    this.#input = new ClientInput(socket, host.limits, this);
    this.#input.awaitHead();
  }

  mayGoOn(): boolean {
    return !this.#last && !this.#host.isDraining();
  }

  exchangeOver({ reusable }: { readonly reusable: boolean }): void {
    this.#current = undefined;
    if (!reusable || !this.mayGoOn()) {
      this.#last = true;
      this.socket.destroySoon();
      return;
    }
    // One that asks for many things at once has its turn as all others have.
    if (this.#input.hasWaiting) setImmediate(nextRequest, this);
    else this.nextRequest();
  }

  nextRequest(): void {
    if (this.#last) return;
    this.#host.watch.rests(this);
    this.#input.awaitHead();
  }

  onHead(head: ReceivedHead): void {
    if (this.#last) return;
    this.#host.watch.isBusy(this);
    if (head.method === "CONNECT") this.#askedToConnect(head);
    else this.#serve(head);
  }

  onHeadBegun(): void {
    this.#host.watch.owesHead(this);
  }

  onFault(why: HeadViolation): void {
    if (this.#current === undefined) {
      if (!this.#last) this.#refuse(why, undefined);
      return;
    }
    this.#last = true;
    this.#current.breakInput(why.reason);
  }

  onEnd(): void {
    this.#last = true;
    if (this.#current === undefined || this.#current.isSaid()) this.socket.destroySoon();
    else this.socket.destroy();
  }

  headTooSlow(): void {
    if (this.#input.hasHeard) this.#refuse({ reason: "body_too_slow" }, undefined);
    else this.socket.destroy();
  }

  /** No further request is served here, and the connection ends once none runs. */
  finish(): void {
    if (this.#current === undefined && !this.#last) this.socket.destroySoon();
    this.#last = true;
  }

  closed(): void {
    this.#last = true;
    this.#host.watch.isBusy(this);
    this.#current?.wireClosed();
    this.#input.closed();
  }

  #serve(head: ReceivedHead): void {
    const host = this.#host;
    const { method, target, rawHeaders } = head;
    const words = connectionWords(method, rawHeaders);
    if (words.asksForSession && host.door === "gateway") {
      this.#serveSession(head);
      return;
    }
    const absolute = this.#absolute(target);
    const { to: proxied, path = target } =
      absolute === undefined || isViolation(absolute) ? NO_TARGET : absolute;
    const framing = this.#framing({ ...head, target: path }, absolute);
    if (isViolation(framing)) {
      this.#refuse(framing, { method, target: path });
      return;
    }
    this.#input.frame(framing.bodyBytes);
    this.hasBegun = true;
    if (words.closes) this.#last = true;
    const wire: Http1Wire = new Http1Wire({
      socket: this.socket,
      body: this.#input,
      isHead: method === "HEAD",
      clock: host.clock,
      keptLines: host.keptLines,
      onSaid: () => exchange.answerSaid(),
    });
    const exchange = new ClientExchange(host, this, {
      requestId: this.#newId(),
      head: { method, target: path, rawHeaders, peer: this.peer },
      headAtNs: host.clock.monoNs(),
      bodyBytes: framing.bodyBytes,
      expectsContinue: words.expectsContinue,
      wire,
      ...(proxied !== undefined && { proxied }),
    });
    this.#current = exchange;
    serveExchange(exchange, undefined, host);
  }

  /** Neither a body belongs to a handshake, nor a word before it is answered. */
  #serveSession(head: ReceivedHead): void {
    const host = this.#host;
    const framing = this.#framing(head, undefined, true);
    const why = isViolation(framing) ? framing : NO_HANDSHAKE;
    if (isViolation(framing) || framing.bodyBytes !== 0 || this.#input.hasWaiting) {
      this.#refuse(why, head);
      return;
    }
    const first = this.#handOver();
    const session = new SessionExchange(host, {
      ...this.#carried(head, first),
      door: this.via?.door ?? host.door,
      via: this.via,
    });
    const failed = (error: unknown): void => {
      host.onFault(error);
      session.reset();
    };
    try {
      Promise.resolve(host.onExchange(session)).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  #askedToConnect(head: ReceivedHead): void {
    const { onTunnel, limits, door, onFault } = this.#host;
    if (onTunnel === undefined || this.via !== undefined) {
      this.#refuse({ reason: "method_not_allowed" }, head);
      return;
    }
    const asked = readConnect(head, limits);
    if (isViolation(asked)) {
      this.#refuse(asked, head);
      return;
    }
    const first = this.#handOver();
    const tunnel = new TunnelExchange(this.#host, {
      ...this.#carried(head, first),
      door,
      target: asked,
      original: undefined,
    });
    onTunnel(tunnel).catch((error) => {
      onFault(error);
      tunnel.reset();
    });
  }

  #carried({ method, target, rawHeaders }: ReceivedHead, first: Uint8Array) {
    return {
      requestId: this.#newId(),
      head: { method, target, rawHeaders, peer: this.peer },
      headAtNs: this.#host.clock.monoNs(),
      socket: this.socket,
      first,
    };
  }

  /** The connection is somebody else's to read: what was sent behind the head, and all that follows. */
  #handOver(): Buffer {
    this.hasBegun = true;
    this.#last = true;
    return this.#input.detach();
  }

  /** Answers what never became a request to serve, and closes. */
  #refuse(
    { reason, detail }: Pick<DoorRefusal, "reason" | "detail">,
    head: { readonly method: string; readonly target: string } | undefined,
  ): void {
    const host = this.#host;
    this.#last = true;
    host.watch.isBusy(this);
    this.#input.detach();
    const requestId = this.#newId();
    const why = { requestId, reason, ...(detail !== undefined && { detail }) };
    const answer = answerBytes(refusalAnswer(why), { isHead: head?.method === "HEAD" });
    answerAndClose(this.socket, answer, "", host.places);
    const { method, target } = head ?? NO_HEAD;
    host.onRefused({ ...why, peer: this.peer, method, target, door: host.door });
  }

  /** Absolute form is for proxies: within TLS, and at the gateway, only a path is a target. */
  #absolute(target: string): AbsoluteTarget | HeadViolation | undefined {
    return this.#host.door === "forward" && this.via === undefined
      ? readAbsolute(target)
      : undefined;
  }

  #framing(
    head: ParsedHead,
    absolute: AbsoluteTarget | HeadViolation | undefined,
    mayUpgrade = false,
  ) {
    if (absolute !== undefined && isViolation(absolute)) return absolute;
    const { headersMax } = this.#host.limits;
    return headOfConnection(head, { via: this.via, absolute, headersMax, mayUpgrade });
  }

  #newId(): string {
    return uuidV7(this.#host.clock.nowMs(), this.#host.random);
  }
}

const NO_TARGET: Partial<AbsoluteTarget> = {};
const NO_HEAD = { method: undefined, target: undefined };
const NO_HANDSHAKE: HeadViolation = { reason: "malformed_http", detail: "not a handshake" };

function nextRequest(connection: Http1Connection): void {
  connection.nextRequest();
}

/** Errors of a connection come with its close, which says all there is to know. */
function ignore(): void {}
