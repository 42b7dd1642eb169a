import type { ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { errorMessage } from "../ports/error-message.ts";
import { http2 } from "../ports/http2-module.ts";
import type { GrpcConnection } from "./grpc-connection.ts";
import { DETAILS_KEY, errorOfStatus, RpcError, type RpcErrorFields } from "./grpc-error.ts";
import { FrameFault, FrameReader, framed } from "./grpc-frames.ts";

export type CallOptions = {
  /** The server stops work on it then, and the call fails with DEADLINE_EXCEEDED. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
};

/** Bytes of an answer; longer than any that is given. */
const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;
/** What `grpc-timeout` may say at most: eight digits. */
const TIMEOUT_MS_MAX = 99_999_999;

/**
 * Calls a method with one message, and gives the messages of the answer. A call that the server has not looked at, such as
 * one that met the end of its connection, is made once more, within the same time.
 *
 * @see https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 * @see https://github.com/grpc/proposal/blob/master/A6-client-retries.md#transparent-retries
 * @throws RpcError
 */
export async function* callMethod(
  connection: GrpcConnection,
  path: string,
  message: Uint8Array,
  options: CallOptions,
): AsyncGenerator<Buffer, void> {
  const begunMs = performance.now();
  const call = new Call(connection, path, message, options);
  try {
    yield* call.messages();
    return;
  } catch (error) {
    if (!call.isUnseen) throw error;
  } finally {
    call.leave();
  }
  const { timeoutMs } = options;
  const again = new Call(connection, path, message, {
    ...options,
    // None that is left is a millisecond to the call.
    ...(timeoutMs !== undefined && { timeoutMs: timeoutMs - (performance.now() - begunMs) }),
  });
  try {
    yield* again.messages();
  } finally {
    again.leave();
  }
}

class Call {
  readonly #stream: ClientHttp2Stream;
  /** The stream forgets it at its end. */
  readonly #session: ClientHttp2Stream["session"];
  readonly #closed: Promise<void>;
  /** There is something to read, the end of nothing included. */
  readonly #answered: Promise<void>;
  readonly #options: CallOptions;
  readonly #late: NodeJS.Timeout | undefined;
  #headers: IncomingHttpHeaders = {};
  #trailers: IncomingHttpHeaders = {};
  #fault: unknown;
  /** Why we have ended it ourselves. */
  #ending: RpcErrorFields | undefined;

  constructor(connection: GrpcConnection, path: string, message: Uint8Array, options: CallOptions) {
    const { signal } = options;
    const timeoutMs = boundedOf(options.timeoutMs);
    this.#options = options;
    const stream = connection.request(path, timeoutMs === undefined ? "" : `${timeoutMs}m`);
    this.#stream = stream;
    this.#session = stream.session;
    const closed = Promise.withResolvers<void>();
    this.#closed = closed.promise;
    stream.once("close", closed.resolve);
    const answered = Promise.withResolvers<void>();
    this.#answered = answered.promise;
    stream.once("readable", answered.resolve);
    stream.once("close", answered.resolve);
    stream.once("response", (headers) => {
      this.#headers = headers;
    });
    stream.once("trailers", (trailers) => {
      this.#trailers = trailers;
    });
    stream.on("error", (error) => {
      this.#fault ??= error;
    });
    stream.end(framed(message));
    if (signal?.aborted === true) this.#cancelled();
    signal?.addEventListener("abort", this.#cancelled, { once: true });
    if (timeoutMs !== undefined) this.#late = setTimeout(this.#overdue, timeoutMs);
  }

  /** The server has said that it did nothing for it, and has not begun to answer. */
  get isUnseen(): boolean {
    const isRefused = this.#stream.rstCode === http2().constants.NGHTTP2_REFUSED_STREAM;
    const isAnswered = this.#headers[":status"] !== undefined;
    return isRefused && !isAnswered && this.#ending === undefined;
  }

  async *messages(): AsyncGenerator<Buffer, void> {
    const reader = new FrameReader(MESSAGE_BYTES_MAX);
    // Node sends the call at the end of its turn: whatever reads the answer is made after that.
    await this.#answered;
    try {
      for await (const chunk of this.#stream.iterator({ destroyOnReturn: false })) {
        yield* reader.push(chunk as Buffer);
      }
    } catch (error) {
      if (error instanceof FrameFault) this.#end(ofFrames(error));
      this.#fault ??= error;
    }
    await this.#closed;
    this.#mustBeOk(reader.isInside);
  }

  /** Ends what has not ended, and what waits for it. */
  leave(): void {
    clearTimeout(this.#late);
    this.#options.signal?.removeEventListener("abort", this.#cancelled);
    if (!this.#stream.closed)
      this.#end({ code: "CANCELLED", reason: "cancelled", message: "left" });
  }

  readonly #cancelled = (): void => {
    this.#end({ code: "CANCELLED", reason: "cancelled", message: "The call was cancelled." });
  };

  readonly #overdue = (): void => {
    const message = `No answer within ${this.#options.timeoutMs} ms.`;
    this.#end({ code: "DEADLINE_EXCEEDED", reason: "deadline_exceeded", message });
  };

  #end(why: RpcErrorFields): void {
    this.#ending ??= why;
    // What has not been sent has nothing to take back.
    if (!this.#stream.pending) this.#stream.close(http2().constants.NGHTTP2_CANCEL);
    this.#stream.destroy();
  }

  /** @throws RpcError */
  #mustBeOk(isCut: boolean): void {
    const said = this.#trailers["grpc-status"] === undefined ? this.#headers : this.#trailers;
    const code = said["grpc-status"];
    // What the server has said to the end counts, though we were about to leave.
    if (code === undefined && this.#ending) throw new RpcError(this.#ending);
    if (code === undefined) throw this.#unsaid();
    if (code !== "0") {
      throw errorOfStatus({
        code: Number(code),
        message: percentDecoded(said["grpc-message"]),
        details: binaryOf(said[DETAILS_KEY]),
      });
    }
    if (!isCut) return;
    const message = "The answer ends inside a message.";
    throw new RpcError({ code: "INTERNAL", reason: "internal", message });
  }

  /** The call has ended without a status. */
  #unsaid(): RpcError {
    const { rstCode } = this.#stream;
    const cause = { cause: this.#fault };
    const status = this.#headers[":status"];
    if (status !== undefined && Number(status) !== 200) {
      const message = `The server answered ${status}, which no gRPC server does.`;
      return new RpcError({ ...ofHttpStatus(Number(status)), message }, cause);
    }
    if (
      rstCode === http2().constants.NGHTTP2_REFUSED_STREAM ||
      this.#session?.destroyed !== false
    ) {
      const why = this.#fault === undefined ? "it was closed" : wordsOf(this.#fault);
      return new RpcError({ ...UNAVAILABLE, message: `No connection: ${why}.` }, cause);
    }
    const message = `The call ended without a status (${rstCode}).`;
    return new RpcError({ code: "INTERNAL", reason: "internal", message }, cause);
  }
}

const UNAVAILABLE = { code: "UNAVAILABLE", reason: "unavailable" } as const;

/** What a proxy says in the server's stead. @see https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md */
function ofHttpStatus(status: number): Pick<RpcErrorFields, "code" | "reason"> {
  if (status === 401) return { code: "UNAUTHENTICATED", reason: "unauthenticated" };
  if (status === 403) return { code: "PERMISSION_DENIED", reason: "permission_denied" };
  if (status === 404) return { code: "UNIMPLEMENTED", reason: "unimplemented" };
  if ([429, 502, 503, 504].includes(status)) return UNAVAILABLE;
  return { code: "INTERNAL", reason: "internal" };
}

function ofFrames({ kind, message }: FrameFault): RpcErrorFields {
  return kind === "too_large"
    ? { code: "RESOURCE_EXHAUSTED", reason: "resource_exhausted", message }
    : { code: "INTERNAL", reason: "internal", message };
}

/** Where several addresses were tried, the error of all says nothing and each of them does. */
function wordsOf(fault: unknown): string {
  const { cause } = fault as Error;
  const error = fault instanceof AggregateError ? fault.errors[0] : (cause ?? fault);
  return errorMessage(error);
}

function boundedOf(timeoutMs: number | undefined): number | undefined {
  if (timeoutMs === undefined) return undefined;
  return Math.min(Math.max(1, Math.ceil(timeoutMs)), TIMEOUT_MS_MAX);
}

function percentDecoded(text: string | string[] = ""): string {
  const one = String(text);
  try {
    return decodeURIComponent(one);
  } catch {
    return one;
  }
}

function binaryOf(header: string | string[] | undefined): Uint8Array | undefined {
  return header === undefined ? undefined : Buffer.from(String(header), "base64");
}
