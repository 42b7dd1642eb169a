import type { Socket } from "node:net";
import type { Clock } from "../../../ports/clock.ts";
import type { AnswerForm, BodySource, ClientWire } from "../client-wire.ts";
import { resetConnection } from "../reset-connection.ts";
import { wireUnder } from "../tls/wire-under.ts";
import { answerHead, dateLine } from "./answer-head.ts";

/**
 * What libuv knows of a connection, undeclared: how much of a write the kernel has taken so far. A socket's own
 * figures tell of a write once it is over, and a whole answer is one.
 */
type Handled = {
  readonly _handle?: { readonly bytesWritten: number; readonly writeQueueSize: number } | null;
};

export type Http1WireInput = {
  readonly socket: Socket;
  readonly body: BodySource;
  /** The request wants a head alone. */
  readonly isHead: boolean;
  readonly clock: Pick<Clock, "nowMs">;
  /** What is said of a connection that goes on: for how long it is kept. */
  readonly keptLines: string;
  /** Called once all of the answer was handed over, never from within a call of the wire. */
  readonly onSaid: () => void;
};

/**
 * A request over HTTP/1.1, whose connection is its own until its answer has ended.
 *
 * W1. An answer without a declared length is in chunks, and only `end` writes the last of them: of one that is broken
 *     off the client sees that it is none.
 * W2. Head and body of an answer that is there whole are one write, and so is a chunk with its size.
 */
export class Http1Wire implements ClientWire {
  readonly body: BodySource;
  readonly #input: Http1WireInput;
  readonly #socket: Socket;
  /** Of the head, as long as it was not written. */
  #head = "";
  #hasBody = true;
  #isChunked = false;
  #isEnded = false;
  /** Nothing more is to be written, but it is not the end yet. */
  #isPut = false;
  #isHandedOver = false;
  #isFinished = false;
  #onDrain: (() => void) | undefined;
  #isAwaitingDrain = false;

  constructor(input: Http1WireInput) {
    this.body = input.body;
    this.#input = input;
    this.#socket = input.socket;
  }

  sayContinue(): void {
    this.#socket.write("HTTP/1.1 100 Continue\r\n\r\n", "latin1");
  }

  writeHead(status: number, headers: readonly string[], { closes, hasLength }: AnswerForm): void {
    const { isHead, clock, keptLines } = this.#input;
    this.#hasBody = !isHead && status !== 204 && status !== 304;
    this.#isChunked = this.#hasBody && !hasLength;
    const connection = closes ? "Connection: close\r\n" : keptLines;
    const framing = this.#isChunked ? "Transfer-Encoding: chunked\r\n" : "";
    const head = answerHead(status, headers, dateLine(clock.nowMs()));
    this.#head = `${head}${connection}${framing}\r\n`;
  }

  /** The head and a first chunk that follows in this turn leave in one packet. */
  flushHead(): void {
    process.nextTick(putHead, this);
  }

  write(chunk: Uint8Array): boolean {
    if (!this.#hasBody || this.#isEnded || chunk.length === 0) return true;
    const hasRoom = this.#isChunked
      ? this.#put(`${chunk.length.toString(16)}\r\n`, chunk, "\r\n")
      : this.#put("", chunk, "");
    if (!hasRoom) this.#awaitDrain();
    return hasRoom;
  }

  /** Listened for once there is something to wait for, which most answers never see. */
  onDrain(fn: () => void): void {
    this.#onDrain = fn;
  }

  end(body: Uint8Array = NO_BYTES): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    if (this.#isPut) {
      if (this.#isHandedOver) process.nextTick(this.#onHandedOver);
      return;
    }
    this.#putLast(body);
  }

  endUnread(body: Uint8Array): void {
    this.#isPut = true;
    this.#putLast(body);
  }

  unreadOver(outcome: "ended" | "bounded"): void {
    if (outcome === "ended") this.end();
    else this.#socket.destroy();
  }

  isFinished(): boolean {
    return this.#isFinished;
  }

  unsentBytes(): number {
    return this.#socket.writableLength;
  }

  takenBytes(): number {
    const handle = (wireUnder(this.#socket) as Handled)._handle;
    return handle ? handle.bytesWritten - handle.writeQueueSize : this.#socket.bytesWritten;
  }

  cut(lastFrame: Uint8Array | undefined): void {
    if (lastFrame === undefined) this.putHead();
    else this.end(lastFrame);
    this.#socket.destroySoon();
  }

  closeSoon(): void {
    this.#socket.destroySoon();
  }

  reset(): void {
    resetConnection(this.#socket);
  }

  putHead(): void {
    if (this.#head === "" || this.#socket.destroyed) return;
    this.#socket.write(this.#head, "latin1");
    this.#head = "";
  }

  #putLast(body: Uint8Array): void {
    const said = this.#hasBody ? body : NO_BYTES;
    if (!this.#isChunked) this.#put("", said, "", this.#onHandedOver);
    else if (said.length === 0) this.#put("", said, LAST_CHUNK, this.#onHandedOver);
    else {
      const size = `${said.length.toString(16)}\r\n`;
      this.#put(size, said, `\r\n${LAST_CHUNK}`, this.#onHandedOver);
    }
  }

  /** Writes the head, if it was not, and this behind it. False: the socket is full. */
  #put(before: string, body: Uint8Array, after: string, done?: (error?: Error | null) => void) {
    const socket = this.#socket;
    if (socket.destroyed) return true;
    const first = this.#head + before;
    this.#head = "";
    if (body.length > ONE_WRITE_BYTES_MAX) {
      socket.cork();
      if (first !== "") socket.write(first, "latin1");
      const hasRoom = socket.write(body, after === "" ? done : undefined);
      if (after !== "") socket.write(after, "latin1", done);
      socket.uncork();
      return hasRoom;
    }
    const bytes = Buffer.allocUnsafe(first.length + body.length + after.length);
    bytes.write(first, 0, "latin1");
    bytes.set(body, first.length);
    if (after !== "") bytes.write(after, first.length + body.length, "latin1");
    return socket.write(bytes, done);
  }

  readonly #onHandedOver = (error?: Error | null): void => {
    if (error) return;
    this.#isHandedOver = true;
    if (!this.#isEnded || this.#isFinished) return;
    this.#isFinished = true;
    this.#forgetDrain();
    this.#input.onSaid();
  };

  #awaitDrain(): void {
    if (this.#isAwaitingDrain || this.#onDrain === undefined) return;
    this.#isAwaitingDrain = true;
    this.#socket.on("drain", this.#onDrain);
  }

  /** The connection goes on to other requests. */
  #forgetDrain(): void {
    if (this.#isAwaitingDrain && this.#onDrain !== undefined) {
      this.#socket.off("drain", this.#onDrain);
    }
  }
}

/** Up to here copying a body behind its head costs less than a second piece of the write. */
const ONE_WRITE_BYTES_MAX = 16 * 1024;
const LAST_CHUNK = "0\r\n\r\n";
const NO_BYTES = new Uint8Array(0);

function putHead(wire: Http1Wire): void {
  wire.putHead();
}
