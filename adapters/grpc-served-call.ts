import { once } from "node:events";
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { CallerOf } from "./grpc-caller.ts";
import { DETAILS_KEY, RpcError, statusOf } from "./grpc-error.ts";
import { FrameFault, FrameReader, framed } from "./grpc-frames.ts";

// One call as its server has it.
//
// A1. A call is answered once: after its status nothing follows, and what would is dropped.
// A2. Whoever works for a call learns by its signal that it is over, however that came about.
// A3. Of a request no more is held than one message, and no message that is longer than it may be.

/** Every call ends with it, the answered ones too; by default a new exception is made with its stack. */
const GONE = new DOMException("the call has ended", "AbortError");
/** @see https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md */
const TIMEOUT_PATTERN = /^(\d{1,8})([HMSmun])$/;
const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};
/** The longest wait that a timer takes. */
const TIMER_MS_MAX = 2 ** 31 - 1;
const HEAD = {
  ":status": 200,
  "content-type": "application/grpc+proto",
  "grpc-accept-encoding": "identity",
} as const;

export class ServedCall {
  /** As HTTP/2 carries it, with its slash. */
  readonly path: string;
  /** Wall clock, ms since the Unix epoch; `undefined` when the caller set none. */
  readonly deadlineAtMs: number | undefined;
  /** The caller by its verified certificate; `undefined` on a unix socket. */
  caller: CallerOf | undefined;
  readonly #stream: ServerHttp2Stream;
  readonly #late: NodeJS.Timeout | undefined;
  /** Made when somebody asks for its signal. */
  #gone: AbortController | undefined;
  #isOver = false;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders) {
    this.#stream = stream;
    this.path = headers[":path"] ?? "";
    // Whoever broke it off is not answered; the call is over by its `close`.
    stream.on("error", () => undefined);
    stream.once("close", () => this.#over());
    const timeoutMs = timeoutOf(headers["grpc-timeout"]);
    this.deadlineAtMs = timeoutMs === undefined ? undefined : Date.now() + timeoutMs;
    if (timeoutMs !== undefined) this.#late = setTimeout(this.#overdue, timeoutMs);
  }

  /** Its connection; the stream forgets it at its end. */
  get session(): ServerHttp2Session | undefined {
    return this.#stream.session as ServerHttp2Session | undefined;
  }

  /** Aborts when the caller goes away, cancels, or its deadline passes. A2. */
  get signal(): AbortSignal {
    this.#gone ??= new AbortController();
    if (this.#isOver) this.#gone.abort(GONE);
    return this.#gone.signal;
  }

  /**
   * Hands over the request's messages, and says when there are no more. While the caller does not read what it is
   * answered, nothing more of it is read.
   *
   * @param bytesMax Of one message.
   */
  read(
    bytesMax: number,
    { message, end }: { readonly message: (bytes: Buffer) => void; readonly end: () => void },
  ): void {
    const stream = this.#stream;
    const reader = new FrameReader(bytesMax);
    stream.on("data", (chunk: Buffer) => {
      if (this.#isOver) return;
      try {
        for (const bytes of reader.push(chunk)) message(bytes);
      } catch (error) {
        if (!(error instanceof FrameFault)) throw error;
        this.end(refusalOfFrames(error));
      }
      if (!stream.writableNeedDrain) return;
      stream.pause();
      stream.once("drain", () => stream.resume());
    });
    stream.once("end", () => {
      if (this.#isOver) return;
      if (reader.isInside) this.end(unimplemented("The request ends inside a message."));
      else end();
    });
  }

  /** Answers what is no gRPC call at all. */
  refuseHttp(status: number): void {
    if (!isGone(this.#stream)) this.#stream.respond({ ":status": status }, { endStream: true });
    this.#over();
    this.#stream.resume();
  }

  /** Hands over the request of a method that takes one message. Refuses none, and a second one. */
  readOne(bytesMax: number, fn: (bytes: Buffer) => void): void {
    let only: Buffer | undefined;
    this.read(bytesMax, {
      message: (bytes) => {
        if (only !== undefined) this.end(unimplemented("The request has a second message."));
        only = bytes;
      },
      end: () => {
        if (only === undefined) this.end(unimplemented("The request has no message."));
        else fn(only);
      },
    });
  }

  /** False: the caller reads slowly, and `drained` says when to go on. */
  send(message: Uint8Array): boolean {
    if (this.#isOver || isGone(this.#stream)) return true;
    if (!this.#stream.headersSent) this.#stream.respond(HEAD, { waitForTrailers: true });
    return this.#stream.write(framed(message));
  }

  /** Rejects where the call ends before. */
  async drained(): Promise<void> {
    if (!this.#stream.writableNeedDrain) return;
    await once(this.#stream, "drain", { signal: this.signal });
  }

  /** @param error Without one the call has succeeded. A1. */
  end(error?: RpcError): void {
    if (this.#isOver) return;
    this.#over();
    const stream = this.#stream;
    if (isGone(stream)) return;
    const trailers = trailersOf(error);
    if (stream.headersSent) {
      stream.once("wantTrailers", () => stream.sendTrailers(trailers));
      stream.end();
    } else stream.respond({ ...HEAD, ...trailers }, { endStream: true });
    // What still comes is read, or the stream never ends.
    stream.resume();
  }

  readonly #overdue = (): void => {
    const message = "The call's deadline has passed.";
    this.end(new RpcError({ code: "DEADLINE_EXCEEDED", reason: "deadline_exceeded", message }));
  };

  #over(): void {
    this.#isOver = true;
    clearTimeout(this.#late);
    this.#gone?.abort(GONE);
  }
}

/** Its caller has broken it off, and `close` has not been told yet. */
function isGone({ destroyed, closed }: ServerHttp2Stream): boolean {
  return destroyed || closed;
}

export function unimplemented(message: string): RpcError {
  return new RpcError({ code: "UNIMPLEMENTED", reason: "unimplemented", message });
}

function refusalOfFrames({ kind, message }: FrameFault): RpcError {
  return kind === "too_large"
    ? new RpcError({ code: "RESOURCE_EXHAUSTED", reason: "resource_exhausted", message })
    : unimplemented(message);
}

/** Undefined: none, or none that is well-formed. */
function timeoutOf(header: string | string[] | undefined): number | undefined {
  const [, digits = "", unit = ""] = TIMEOUT_PATTERN.exec(String(header ?? "")) ?? [];
  if (unit === "") return undefined;
  return Math.min(Math.ceil(Number(digits) * (UNIT_MS[unit] as number)), TIMER_MS_MAX);
}

function trailersOf(error: RpcError | undefined): Record<string, string> {
  if (error === undefined) return { "grpc-status": "0" };
  const { code, message, details } = statusOf(error);
  return {
    "grpc-status": String(code),
    "grpc-message": encodeURI(message),
    [DETAILS_KEY]: Buffer.from(details).toString("base64"),
  };
}
