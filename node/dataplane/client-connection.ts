import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { http } from "../../ports/http-module.ts";
import { uuidV7 } from "../../ports/random.ts";
import type { Reason } from "../../proto/reasons.ts";
import { type Carrier, ClientExchange } from "./client-exchange.ts";
import type { Via } from "./exchange.ts";
import { headOfConnection } from "./head-of-connection.ts";
import { type HeadViolation, isViolation, type ParsedHead } from "./head-rules.ts";
import { Http1Wire } from "./http1-wire.ts";
import { KeyMemo } from "./key-memo.ts";
import { answerAndClose } from "./lingering-close.ts";
import { answerBytes, type DoorRefusal, refusalAnswer } from "./refusal-answer.ts";
import { type ServingHost, serveExchange } from "./serve-exchange.ts";
import { type AbsoluteTarget, readAbsolute } from "./tunnel/absolute-target.ts";
import { SessionExchange } from "./tunnel/session-exchange.ts";

/** What all connections of a door share. */
export type ConnectionHost = ServingHost & {
  /** Connections that carry no exchange now, the longest waiting first. */
  readonly idle: Set<ClientConnection>;
};

/**
 * Node's request. Whoever serves it reads `rawHeaders`; by name, node:http itself asks for three headers and the door for
 * one, so those alone are gathered. All others would be spelt in lower case, looked up and joined for nobody.
 */
export class ClientRequest extends http.IncomingMessage {
  _addHeaderLine(name: string, value: string, into: object): void {
    if (ASKED_FOR_LENGTHS.has(name.length)) addHeaderLine.call(this, name, value, into);
  }
}

/** Of `te`, `expect`, `upgrade`, `content-length` and `transfer-encoding`. */
const ASKED_FOR_LENGTHS: ReadonlySet<number> = new Set([2, 6, 7, 14, 17]);

/** Node's own, which is not declared: called by `headers` for each line. */
const { _addHeaderLine: addHeaderLine } = http.IncomingMessage
  .prototype as unknown as ClientRequest;

/** Node's response, with the exchange it answers: one listener then serves all of them. */
export class ClientResponse extends http.ServerResponse<ClientRequest> {
  exchange: ClientExchange | undefined = undefined;
}

type Waiting = {
  readonly request: IncomingMessage;
  readonly response: ClientResponse;
  readonly expectsContinue: boolean;
};

/** One client's TCP connection: its requests are served one at a time, in their order. */
export class ClientConnection implements Carrier {
  readonly id: string;
  readonly socket: Socket;
  readonly peer: string;
  readonly via: Via | undefined;
  readonly keyMemo = new KeyMemo();
  /** Monotonic time since which no request runs here, nanoseconds; of meaning while it is idle. */
  idleSinceNs = 0n;
  /** A request has been served here, or is. */
  hasBegun = false;
  readonly #host: ConnectionHost;
  #current: ClientExchange | undefined;
  readonly #waiting: Waiting[] = [];
  /** What comes after the current exchange is not answered any more. */
  #last = false;
  /** The first request that has asked for another protocol and is served in this one. */
  #plain: IncomingMessage | undefined = undefined;

  constructor(host: ConnectionHost, socket: Socket, id: string, via: Via | undefined) {
    this.#host = host;
    this.via = via;
    this.socket = socket;
    this.id = id;
    this.peer = peerOf(socket);
    this.#rest();
  }

  /** node:http parses pipelined requests as they come; here they wait for their turn. */
  accept(request: IncomingMessage, response: ClientResponse, expectsContinue: boolean): void {
    response.on("error", ignore);
    if (this.#last || (this.#plain !== undefined && request !== this.#plain)) return;
    const next = { request, response, expectsContinue };
    if (this.#current === undefined) this.#serve(next);
    else if (this.#waiting.length < this.#host.limits.pipelinedMax) this.#waiting.push(next);
    else this.#last = true;
  }

  /**
   * A request that asks for another protocol is served in this one. Of what its client has sent behind it the
   * parser of node:http drops what came in the same read, so whatever it reads next may begin in the midst of
   * something: it is the last one here.
   */
  staysPlain(request: IncomingMessage): void {
    this.#plain ??= request;
  }

  mayGoOn(): boolean {
    return !this.#last && !this.#host.isDraining();
  }

  exchangeOver({ reusable }: { readonly reusable: boolean }): void {
    this.#current = undefined;
    if (!reusable || !this.mayGoOn()) {
      this.#last = true;
      this.#waiting.length = 0;
      this.socket.destroySoon();
      return;
    }
    const next = this.#waiting.shift();
    if (next !== undefined) this.#serve(next);
    else this.#rest();
  }

  /** The parser gave up on what the client sends. */
  inputFailed(reason: Reason): void {
    if (this.#current === undefined) {
      if (!this.#last) this.refuseUnparsed({ reason });
      return;
    }
    this.#last = true;
    this.#current.breakInput(reason);
  }

  /** Answers what never became a request, and closes. */
  refuseUnparsed(
    { reason, detail }: Pick<DoorRefusal, "reason" | "detail">,
    head?: { method: string | undefined; target: string | undefined },
  ) {
    this.#last = true;
    this.#host.idle.delete(this);
    // No answer would belong to anything that was asked, or it would stand in the midst of another.
    if (this.socket.bytesRead === 0 || this.#current !== undefined) {
      this.socket.destroy();
      return;
    }
    const requestId = this.#newId();
    const why = { requestId, reason, ...(detail !== undefined && { detail }) };
    const answer = refusalAnswer(why);
    answerAndClose(this.socket, answerBytes(answer), "", this.#host.places);
    const { method, target } = head ?? { method: undefined, target: undefined };
    this.#host.onRefused({ ...why, peer: this.peer, method, target, door: this.#host.door });
  }

  /** Serves a request for a WebSocket, which the parser of node:http has let go of. */
  acceptSession(request: IncomingMessage, first: Uint8Array): void {
    const host = this.#host;
    const { method = "", url: target = "", rawHeaders, httpVersion } = request;
    const framing = this.#framing({ httpVersion, target, rawHeaders }, undefined, true);
    // Neither a body belongs to a handshake, nor a word before it is answered.
    if (isViolation(framing) || framing.bodyBytes !== 0 || first.length > 0) {
      const why = isViolation(framing) ? framing : violation("malformed_http", "not a handshake");
      this.refuseUnparsed(why, { method, target });
      return;
    }
    if (!this.becomesTunnel()) return;
    const session = new SessionExchange(host, {
      requestId: this.#newId(),
      door: this.via?.door ?? host.door,
      head: { method, target, rawHeaders, peer: this.peer },
      headAtNs: host.clock.monoNs(),
      socket: this.socket,
      first,
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

  /** False: it was closed instead, because requests before the CONNECT still wait for answers. */
  becomesTunnel(): boolean {
    const isFree = this.#current === undefined && !this.#last;
    this.hasBegun = true;
    this.#last = true;
    this.#host.idle.delete(this);
    // What node:http had planned for the silence between two requests is not meant for a tunnel.
    this.socket.setTimeout(0);
    if (!isFree) this.socket.destroy();
    return isFree;
  }

  /** No further request is served here, and the connection ends once none runs. */
  finish(): void {
    if (this.#current === undefined && !this.#last) this.socket.destroySoon();
    this.#last = true;
  }

  closed(): void {
    this.#last = true;
    this.#host.idle.delete(this);
    this.#waiting.length = 0;
    this.#current?.wireClosed();
  }

  #serve({ request, response, expectsContinue }: Waiting): void {
    const host = this.#host;
    this.hasBegun = true;
    if (request === this.#plain) this.#last = true;
    host.idle.delete(this);
    const method = request.method as string;
    const target = request.url as string;
    const { rawHeaders, httpVersion } = request;
    const absolute = this.#absolute(target);
    const { to: proxied, path = target } =
      absolute === undefined || isViolation(absolute) ? NO_TARGET : absolute;
    const framing = this.#framing({ httpVersion, target: path, rawHeaders }, absolute);
    const violates = isViolation(framing);
    const exchange = new ClientExchange(host, this, {
      requestId: this.#newId(),
      head: { method, target: path, rawHeaders, peer: this.peer },
      headAtNs: host.clock.monoNs(),
      bodyBytes: violates ? doubtfulBody(request) : framing.bodyBytes,
      expectsContinue,
      wire: new Http1Wire(request, response, this.socket),
      ...(proxied !== undefined && { proxied }),
    });
    this.#current = exchange;
    response.exchange = exchange;
    response.on("close", onResponseClose);
    serveExchange(exchange, violates ? framing : undefined, host);
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

  #rest(): void {
    this.idleSinceNs = this.#host.clock.monoNs();
    this.#host.idle.add(this);
  }

  #newId(): string {
    return uuidV7(this.#host.clock.nowMs(), this.#host.random);
  }
}

const NO_TARGET: Partial<AbsoluteTarget> = {};

function violation(reason: Reason, detail: string): HeadViolation {
  return { reason, detail };
}

function onResponseClose(this: ClientResponse): void {
  this.exchange?.responseClosed();
}

/** A body whose framing was refused is discarded until it ends or a bound is met. */
function doubtfulBody({ headers }: IncomingMessage): number | undefined {
  return "content-length" in headers || "transfer-encoding" in headers ? undefined : 0;
}

/** Errors of a response come with its close, which says all there is to know. */
function ignore(): void {}

const MAPPED_IPV4 = "::ffff:";

/** An IPv4 client of a socket that serves both families is named by its IPv4 address. */
export function peerOf(socket: Socket): string {
  const address = socket.remoteAddress ?? "unknown";
  return address.startsWith(MAPPED_IPV4) ? address.slice(MAPPED_IPV4.length) : address;
}
