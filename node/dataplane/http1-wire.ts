import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { ClientWire } from "./client-wire.ts";
import { resetConnection } from "./reset-connection.ts";
import { wireUnder } from "./tls/wire-under.ts";

/**
 * What libuv knows of a connection, undeclared: how much of a write the kernel has taken so far. A socket's own
 * figures tell of a write once it is over, and a whole answer is one.
 */
type Handled = {
  readonly _handle?: { readonly bytesWritten: number; readonly writeQueueSize: number } | null;
};

/** A request over HTTP/1.1, whose connection is its own until its answer has ended. */
export class Http1Wire implements ClientWire {
  readonly source: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #socket: Socket;
  #onDrain: (() => void) | undefined;
  #hasFilled = false;

  constructor(request: IncomingMessage, response: ServerResponse, socket: Socket) {
    this.source = request;
    this.#response = response;
    this.#socket = socket;
  }

  isBodyComplete(): boolean {
    return this.source.complete;
  }

  /** The parser takes no more of a body than was declared, and says that it is complete only a moment after its last byte. */
  holdsBody(bytes: number): boolean {
    return this.source.readableLength === bytes;
  }

  /** Of a message that breaks off there is no `end`. */
  isBodyBroken(): boolean {
    return false;
  }

  sayContinue(): void {
    this.#response.writeContinue();
  }

  writeHead(status: number, headers: string[], closes: boolean): void {
    if (closes) headers.push("connection", "close");
    this.#response.writeHead(status, headers);
  }

  flushHead(): void {
    // The head and a first chunk that follows in this turn leave in one packet.
    this.#socket.cork();
    process.nextTick(uncork, this.#socket);
    this.#response.flushHeaders();
  }

  write(chunk: Uint8Array): boolean {
    const hasRoom = this.#response.write(chunk);
    if (!hasRoom && !this.#hasFilled && this.#onDrain !== undefined) {
      this.#hasFilled = true;
      this.#response.on("drain", this.#onDrain);
    }
    return hasRoom;
  }

  /** Listened for once there is something to wait for, which most answers never see. */
  onDrain(fn: () => void): void {
    this.#onDrain = fn;
  }

  end(body?: Uint8Array): void {
    if (body === undefined || body.length > TEXT_BYTES_MAX) this.#response.end(body);
    else this.#response.end(oneByteText(body), "latin1");
  }

  endUnread(body: Uint8Array): void {
    // Ending the response now would make node:http destroy the socket with the body unread.
    this.#response.write(body);
  }

  unreadOver(outcome: "ended" | "bounded"): void {
    if (outcome === "ended") this.end();
    else this.#socket.destroy();
  }

  isFinished(): boolean {
    return this.#response.writableFinished;
  }

  unsentBytes(): number {
    return this.#socket.writableLength;
  }

  takenBytes(): number {
    const handle = (wireUnder(this.#socket) as Handled)._handle;
    return handle ? handle.bytesWritten - handle.writeQueueSize : this.#socket.bytesWritten;
  }

  cut(lastFrame: Uint8Array | undefined): void {
    if (lastFrame !== undefined) this.#response.end(lastFrame);
    this.#socket.destroySoon();
  }

  closeSoon(): void {
    this.#socket.destroySoon();
  }

  reset(): void {
    resetConnection(this.#socket);
  }
}

/**
 * A whole answer of at most so many bytes goes to node:http as text, a character a byte: it then is one text with
 * its head, and one write, where bytes beside a text are a list of writes. Copying more costs more than that saves.
 */
const TEXT_BYTES_MAX = 4 * 1024;

function oneByteText({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString("latin1");
}

function uncork(socket: Socket): void {
  socket.uncork();
}
