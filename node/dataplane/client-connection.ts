import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { http } from "../../ports/http-module.ts";
import { type Random, uuidV7 } from "../../ports/random.ts";
import type { Reason } from "../../proto/reasons.ts";
import type { Door } from "../decision/facts.ts";
import { type Carrier, ClientExchange, type ExchangeHost } from "./client-exchange.ts";
import type { Exchange, Via } from "./exchange.ts";
import {
  type HeadViolation,
  isNamed,
  isViolation,
  type ParsedHead,
  readHead,
} from "./head-rules.ts";
import { answerAndClose } from "./lingering-close.ts";
import { answerBytes, type DoorRefusal, refusalAnswer } from "./refusal-answer.ts";
import { type AbsoluteTarget, readAbsolute } from "./tunnel/absolute-target.ts";
import type { ConnectTarget } from "./tunnel/connect-head.ts";
import { SessionExchange } from "./tunnel/session-exchange.ts";

/** A refusal that no exchange was ever served for, as the log wants it. */
export type RefusedAtDoor = DoorRefusal & {
  /** Remote address without port. */
  readonly peer: string;
  /** As received; `undefined` where no head could be parsed. */
  readonly method: string | undefined;
  readonly target: string | undefined;
  readonly door: Door;
};

/** What all connections of a door share. */
export type ConnectionHost = ExchangeHost & {
  readonly random: Random;
  readonly onExchange: (exchange: Exchange) => void | Promise<void>;
  readonly onRefused: (refused: RefusedAtDoor) => void;
  readonly isDraining: () => boolean;
  /** Connections that carry no exchange now, the longest waiting first. */
  readonly idle: Set<ClientConnection>;
};

/** Node's response, with the exchange it answers: one listener then serves all of them. */
export class ClientResponse extends http.ServerResponse {
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
  /** Monotonic time since which no request runs here, nanoseconds; of meaning while it is idle. */
  idleSinceNs = 0n;
  readonly #host: ConnectionHost;
  #current: ClientExchange | undefined;
  readonly #waiting: Waiting[] = [];
  /** What comes after the current exchange is not answered any more. */
  #last = false;

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
    if (this.#last) return;
    const next = { request, response, expectsContinue };
    if (this.#current === undefined) this.#serve(next);
    else if (this.#waiting.length < this.#host.limits.pipelinedMax) this.#waiting.push(next);
    else this.#last = true;
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
    this.#last = true;
    this.#host.idle.delete(this);
    // What node:http had planned for the silence between two requests is not meant for a tunnel.
    this.socket.setTimeout(0);
    if (!isFree) this.socket.destroy();
    return isFree;
  }

  closed(): void {
    this.#last = true;
    this.#host.idle.delete(this);
    this.#waiting.length = 0;
    this.#current?.socketClosed();
  }

  #serve({ request, response, expectsContinue }: Waiting): void {
    const host = this.#host;
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
      request,
      response,
      ...(proxied !== undefined && { proxied }),
    });
    this.#current = exchange;
    response.exchange = exchange;
    response.on("close", onResponseClose);
    host.registry.register(exchange);
    if (violates) this.#refuse(exchange, framing);
    else this.#hand(exchange);
  }

  /** Absolute form is for proxies: within TLS, and at the gateway, only a path is a target. */
  #absolute(target: string): AbsoluteTarget | HeadViolation | undefined {
    return this.#host.door === "forward" && this.via === undefined
      ? readAbsolute(target)
      : undefined;
  }

  /** What a request says of its host must be what its TLS connection, or its own target, is for. */
  #framing(
    head: ParsedHead,
    absolute: AbsoluteTarget | HeadViolation | undefined,
    mayUpgrade = false,
  ) {
    if (absolute !== undefined && isViolation(absolute)) return absolute;
    const framing = readHead(head, { headersMax: this.#host.limits.headersMax, mayUpgrade });
    if (isViolation(framing)) return framing;
    const { via } = this;
    const named = hostOf(head.rawHeaders)?.toLowerCase();
    if (via !== undefined && !isNamedBy(via, named)) {
      return violation("misdirected_request", "Host is not the server name");
    }
    if (absolute !== undefined && !isNamedBy(absolute.to, named)) {
      return violation("malformed_http", "Host is not the target");
    }
    return framing;
  }

  #refuse(exchange: ClientExchange, { reason, detail }: { reason: Reason; detail: string }): void {
    const { requestId, head } = exchange;
    exchange.answer(refusalAnswer({ requestId, reason, detail }));
    const { method, target, peer } = head;
    const { door } = this.#host;
    this.#host.onRefused({ requestId, reason, detail, peer, method, target, door });
  }

  #hand(exchange: ClientExchange): void {
    try {
      const served = this.#host.onExchange(exchange);
      if (served instanceof Promise) served.catch((error) => this.#failed(exchange, error));
    } catch (error) {
      this.#failed(exchange, error);
    }
  }

  /** A bug of ours ends this exchange and no other. */
  #failed(exchange: ClientExchange, error: unknown): void {
    this.#host.onFault(error);
    const { requestId } = exchange;
    if (exchange.isUnanswered())
      exchange.answer(refusalAnswer({ requestId, reason: "stage_failed" }));
    else exchange.reset();
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

/** A port may be left out, and most clients leave out a scheme's own. */
function isNamedBy({ host, port }: ConnectTarget, named: string | undefined): boolean {
  return named === host || named === `${host}:${port}`;
}

function violation(reason: Reason, detail: string): HeadViolation {
  return { reason, detail };
}

function hostOf(rawHeaders: readonly string[]): string | undefined {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (isNamed(rawHeaders[i] as string, "host")) return rawHeaders[i + 1];
  }
  return undefined;
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
