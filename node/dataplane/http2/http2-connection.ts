import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { Cancel } from "../../../ports/clock.ts";
import { http2 } from "../../../ports/http2-module.ts";
import { uuidV7 } from "../../../ports/random.ts";
import type { Reason } from "../../../proto/reasons.ts";
import { type Carrier, ClientExchange } from "../client-exchange.ts";
import type { Via } from "../exchange.ts";
import { headOfConnection } from "../head-of-connection.ts";
import { isViolation } from "../head-rules.ts";
import { peerOf } from "../peer-of.ts";
import { type ServingHost, serveExchange } from "../serve-exchange.ts";
import { CUT_FLUSH_MS } from "../teardown.ts";
import { readHttp2Head } from "./http2-head.ts";
import type { Http2Limits } from "./http2-limits.ts";
import { HTTP2_CODE, Http2Wire } from "./http2-wire.ts";

export type Http2Input = {
  readonly socket: Socket;
  readonly id: string;
  /** There is HTTP/2 only within TLS that was ended here. */
  readonly via: Via;
  readonly limits: Http2Limits;
};

const NS_PER_SECOND = 1_000_000_000n;

/**
 * A client's HTTP/2 connection: its requests are served side by side, each as one of HTTP/1.1 is.
 *
 * C1. A request is judged for itself: its host, its key, its body. None stands in for another.
 * C2. Whoever gives up requests faster than they can be answered, or sends what costs us and nobody else,
 *     loses the connection, and the log says why.
 * C3. A connection without a request is closed after a time, and one that a cut has come to as soon as
 *     what runs on it has said its last words.
 */
export class Http2Connection {
  readonly socket: Socket;
  readonly #host: ServingHost;
  readonly #input: Http2Input;
  readonly #session: ServerHttp2Session;
  readonly #peer: string;
  readonly #carrier: Carrier;
  readonly #resets: PerSecond;
  readonly #controlFrames: PerSecond;
  #openStreams = 0;
  #hasBegun = false;
  #isOver = false;
  #cancelIdle: Cancel = () => {};

  constructor(host: ServingHost, input: Http2Input) {
    const { socket, id, via, limits } = input;
    this.socket = socket;
    this.#host = host;
    this.#input = input;
    this.#peer = peerOf(socket);
    this.#carrier = { id, via, mayGoOn: () => true, exchangeOver: () => {} };
    this.#resets = new PerSecond(limits.resetsPerSecondMax);
    this.#controlFrames = new PerSecond(limits.controlFramesPerSecondMax);
    this.#session = http2().performServerHandshake(socket, optionsOf(limits));
    this.#session.on("stream", (stream, _headers, _flags, raw) => this.#opened(stream, raw));
    this.#session.on("error", (error: NodeJS.ErrnoException) => this.#failed(error));
    this.#session.on("close", () => this.#cancelIdle());
    // A socket of ours stays open for what it may still say, which here is nothing: the client is gone.
    socket.once("end", () => {
      this.#destroy();
      socket.destroy();
    });
    for (const event of ["ping", "remoteSettings"]) {
      this.#session.on(event, () => this.#count(this.#controlFrames, "control frames"));
    }
    this.#watchIdle(host.limits.headTimeoutMs);
  }

  hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** No further request is served, and the connection ends once none runs. */
  finish(): void {
    if (this.#session.destroyed) return;
    this.#isOver = true;
    if (this.#openStreams === 0) this.#destroy();
    else this.#session.close();
  }

  #opened(stream: ServerHttp2Stream, rawHeaders: readonly string[]): void {
    stream.on("error", ignore);
    if (this.#isOver) {
      stream.close(HTTP2_CODE.refused);
      return;
    }
    this.#cancelIdle();
    this.#hasBegun = true;
    const { clock, limits, random } = this.#host;
    const { via } = this.#input;
    const { headBytesMax, headersMax } = limits;
    const hasBody = !stream.endAfterHeaders;
    const read = readHttp2Head(rawHeaders, { hasBody, headBytesMax });
    const framing = isViolation(read)
      ? read
      : headOfConnection({ httpVersion: "1.1", ...read }, { via, headersMax });
    const violates = isViolation(framing);
    const wire = new Http2Wire(stream, { isHead: read.method === "HEAD" });
    const exchange = new ClientExchange(this.#host, this.#carrier, {
      requestId: uuidV7(clock.nowMs(), random),
      head: { ...read, peer: this.#peer },
      headAtNs: clock.monoNs(),
      bodyBytes: violates ? (hasBody ? undefined : 0) : framing.bodyBytes,
      expectsContinue: hasBody && asksToContinue(rawHeaders),
      wire,
    });
    this.#openStreams += 1;
    stream.on("close", () => this.#closed(wire, exchange));
    serveExchange(exchange, violates ? framing : undefined, this.#host);
  }

  #closed(wire: Http2Wire, exchange: ClientExchange): void {
    const isGivenUp = !wire.isFinished() && !exchange.isCut();
    exchange.wireClosed();
    // How many there were may be why it has ended.
    if (this.#session.destroyed) return;
    this.#openStreams -= 1;
    if (isGivenUp) this.#count(this.#resets, "resets");
    if (this.#openStreams > 0) return;
    if (this.#isOver) this.#destroy();
    else this.#watchIdle(this.#host.limits.keepAliveTimeoutMs);
  }

  #watchIdle(timeoutMs: number): void {
    this.#cancelIdle();
    // A client that closes last would keep a connection open that it has no more use for.
    this.#cancelIdle = this.#host.clock.after(timeoutMs, () => this.#destroy());
  }

  #count(counted: PerSecond, what: string): void {
    if (counted.isOver(this.#host.clock.monoNs())) this.#end("http2_flood", what);
  }

  /** The protocol library has given up on what the client sends, or the connection broke. */
  #failed({ code = "", errno }: NodeJS.ErrnoException): void {
    if (!code.startsWith("ERR_HTTP2_")) return;
    const isFull = this.#openStreams >= this.#input.limits.streamsMax;
    const flood = isFull ? "streams" : FLOODS.get(errno ?? 0);
    if (flood === undefined) this.#end("malformed_http", "HTTP/2 frames");
    else this.#end("http2_flood", flood);
  }

  #end(reason: Reason, detail: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { clock, random, door, onRefused } = this.#host;
    const requestId = uuidV7(clock.nowMs(), random);
    const none = { method: undefined, target: undefined };
    onRefused({ requestId, reason, detail, peer: this.#peer, ...none, door });
    this.#destroy(HTTP2_CODE.calm);
  }

  /**
   * The protocol library closes a connection once all that it has written was taken. A client that takes nothing would
   * keep it for ever.
   */
  #destroy(code: number = HTTP2_CODE.none): void {
    const { socket } = this;
    this.#session.destroy(undefined, code);
    if (socket.destroyed) return;
    const cancel = this.#host.clock.after(CUT_FLUSH_MS, () => socket.destroy());
    socket.once("close", cancel);
  }
}

/** What the protocol library calls a flood, by its numbers. */
const FLOODS: ReadonlyMap<number, string> = new Map([
  [-902, "frames or heads that are not read"],
  [-904, "control frames"],
  [-905, "CONTINUATION frames"],
]);

function optionsOf(limits: Http2Limits) {
  return {
    settings: {
      enablePush: false,
      maxConcurrentStreams: limits.streamsMax,
      maxHeaderListSize: limits.headerListBytesMax,
    },
    maxHeaderListPairs: limits.headerPairsMax,
    maxSessionRejectedStreams: limits.unreadMax,
    maxSessionInvalidFrames: limits.invalidFramesMax,
    maxSessionMemory: limits.stateMbMax,
    // Before it is told of them: what comes in one read is counted there alone.
    streamResetBurst: 2 * limits.resetsPerSecondMax,
    streamResetRate: limits.resetsPerSecondMax,
  };
}

function asksToContinue(rawHeaders: readonly string[]): boolean {
  return rawHeaders.some(
    (name, i) =>
      i % 2 === 0 && name === "expect" && rawHeaders[i + 1]?.toLowerCase() === "100-continue",
  );
}

/** Counts what may happen so often in a second. */
class PerSecond {
  readonly #max: number;
  #sinceNs = 0n;
  #count = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Counts one more. True: it is one too many. */
  isOver(nowNs: bigint): boolean {
    if (nowNs - this.#sinceNs >= NS_PER_SECOND) {
      this.#sinceNs = nowNs;
      this.#count = 0;
    }
    this.#count += 1;
    return this.#count > this.#max;
  }
}

/** Errors of a stream come with its close, which says all there is to know. */
function ignore(): void {}
