import type { Socket } from "node:net";
import type { BodyReader, BodySource } from "../client-wire.ts";
import type { HeadViolation } from "../head-rules.ts";
import type { ReceivedHead } from "./request-head.ts";
import { type ReaderLimits, RequestReader } from "./request-reader.ts";

export type InputLimits = ReaderLimits & {
  /** Bytes that are kept while nobody reads them; the rest is left with the kernel. */
  readonly waitingBytesMax: number;
};

/** Whose input it is. */
export type InputOwner = {
  /** The head of the request that was waited for; `frame` is to be called, or `detach`. */
  onHead(head: ReceivedHead): void;
  /** What the client sends can be read no further. */
  onFault(why: HeadViolation): void;
  /** Some of a head is there, and not all of it. */
  onHeadBegun(): void;
  /** The client will send nothing more. */
  onEnd(): void;
};

/**
 * What a client sends on its connection: heads when one is waited for, and the body of the request that runs when
 * somebody reads it. All other bytes wait, first here and then with the kernel.
 *
 * The connection is read on for as long as there is room, so that its end is seen while an answer is awaited.
 */
export class ClientInput implements BodySource {
  readonly #socket: Socket;
  readonly #owner: InputOwner;
  readonly #reader: RequestReader;
  readonly #waitingBytesMax: number;
  #isHeadWanted = false;
  #isBodyOver = true;
  #bodyReader: BodyReader | undefined;
  #isPaused = false;
  /** Something has come. */
  hasHeard = false;

  constructor(socket: Socket, limits: InputLimits, owner: InputOwner) {
    this.#socket = socket;
    this.#owner = owner;
    this.#reader = new RequestReader(limits);
    this.#waitingBytesMax = limits.waitingBytesMax;
    socket.on("data", this.#onData).on("end", this.#onEnd);
  }

  /** Waits for the next request, which may be told in this call. */
  awaitHead(): void {
    this.#isHeadWanted = true;
    if (this.#reader.unreadBytes > 0) this.#tell();
    this.#readOn();
  }

  /** What follows the head that was told; undefined: chunks. */
  frame(bodyBytes: number | undefined): void {
    this.#reader.frame(bodyBytes);
    this.#isBodyOver = bodyBytes === 0 && this.#reader.next() === "whole";
  }

  /** Bytes wait that nobody has asked for. */
  get hasWaiting(): boolean {
    return this.#reader.unreadBytes > 0;
  }

  isComplete(): boolean {
    return this.#isBodyOver;
  }

  isBroken(): boolean {
    return !this.#isBodyOver;
  }

  take(bytes: number): Buffer | undefined {
    const body = this.#reader.takeBody(bytes);
    if (body !== undefined) this.#isBodyOver = true;
    return body;
  }

  tell(reader: BodyReader): void {
    this.#bodyReader = reader;
    this.#tell();
    this.#readOn();
  }

  hush(): void {
    this.#bodyReader = undefined;
  }

  /** Somebody else reads the connection from here on, which is paused; gives what was read of it and not told. */
  detach(): Buffer {
    this.#socket.off("data", this.#onData).off("end", this.#onEnd);
    this.#socket.pause();
    // Not to be resumed from here any more.
    this.#isPaused = false;
    this.#bodyReader = undefined;
    return this.#reader.takeRest();
  }

  /** The connection is gone. */
  closed(): void {
    const reader = this.#bodyReader;
    this.#bodyReader = undefined;
    reader?.onEnd();
  }

  readonly #onData = (bytes: Buffer): void => {
    this.hasHeard = true;
    this.#reader.push(bytes);
    this.#tell();
    if (!this.#isPaused && this.#reader.unreadBytes >= this.#waitingBytesMax) this.#pause();
  };

  readonly #onEnd = (): void => this.#owner.onEnd();

  /** Tells what is there, to whoever wants it by then: what is told may change that. */
  #tell(): void {
    for (;;) {
      if (this.#isHeadWanted) {
        if (!this.#tellHead()) return;
      } else if (this.#bodyReader === undefined || !this.#tellBody(this.#bodyReader)) return;
    }
  }

  /** False: there is none yet. */
  #tellHead(): boolean {
    const reading = this.#reader.next();
    if (reading === "more") {
      if (this.#reader.hasBegunHead) this.#owner.onHeadBegun();
      return false;
    }
    this.#isHeadWanted = false;
    if (reading === "head") this.#owner.onHead(this.#reader.head as ReceivedHead);
    else this.#owner.onFault(this.#reader.fault as HeadViolation);
    return true;
  }

  /** False: there is no more of it yet, or will be none. */
  #tellBody(reader: BodyReader): boolean {
    const reading = this.#isBodyOver ? "whole" : this.#reader.next();
    switch (reading) {
      case "body":
        reader.onPiece(this.#reader.body);
        return true;
      case "whole":
        this.#isBodyOver = true;
        this.#bodyReader = undefined;
        reader.onEnd();
        return true;
      case "fault":
        this.#bodyReader = undefined;
        this.#owner.onFault(this.#reader.fault as HeadViolation);
        return true;
      default:
        return false;
    }
  }

  #pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  /** Where there is room: what was told may have left more waiting than that. */
  #readOn(): void {
    if (!this.#isPaused || this.#reader.unreadBytes >= this.#waitingBytesMax) return;
    this.#isPaused = false;
    this.#socket.resume();
  }
}
