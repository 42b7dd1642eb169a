import type { Socket } from "node:net";
import type { Cancel } from "../../../ports/clock.ts";
import { AnswerReader } from "./answer-reader.ts";
import type { CallControl, CallHandler, OriginCall } from "./call.ts";
import type { OriginDial } from "./dial-origin.ts";
import { READ_INTO } from "./read-into.ts";

/** A call that waits for its connection. */
export type WaitingCall = {
  readonly call: OriginCall;
  readonly handler: CallHandler;
  /** What is written before its body, a character a byte. */
  readonly head: string;
};

/** Whose connections they are. */
export type ConnectionOwner = {
  /** Nothing runs on it, and it may carry another call. */
  onFree(connection: OriginConnection): void;
  onGone(connection: OriginConnection): void;
};

/** Reads of this thread so far. */
let reads = 0;

/**
 * One connection to an origin, which carries one call at a time.
 *
 * C1. A call is written in the turn in which its handler said yes, head and body in one go.
 * C2. Bytes that come while no call runs end the connection: none is ever taken for the next call's answer.
 * C3. What an answer leaves in doubt about where it ended ends the connection too: bytes behind it, a request
 *     that was not written to its end.
 * C4. What a handler does about its call once that is over does nothing to the call that runs then.
 */
export class OriginConnection {
  readonly #owner: ConnectionOwner;
  readonly #socket: Socket;
  readonly #reader = new AnswerReader();
  /** The call that it was opened for, until it is open. */
  #first: WaitingCall | undefined;
  #running: RunningCall | undefined;
  readonly #cancelOpening: Cancel;
  #isPaused = false;
  #fault: Error | undefined;
  /** Time of its pool at which it was opened, and became free: seconds. */
  madeAtS = 0;
  freeSinceS = 0;
  /** How long the server keeps it, by its last answer, milliseconds; undefined: it does not say. */
  keptMs: number | undefined;

  /**
   * Opens it.
   *
   * @param of.timed Calls what it is given once no connection is waited for any longer.
   * @param of.first The call that it is opened for.
   */
  constructor(of: {
    readonly owner: ConnectionOwner;
    readonly dial: OriginDial;
    readonly timed: (fn: () => void) => Cancel;
    readonly first: WaitingCall;
  }) {
    const { owner, dial, first } = of;
    this.#owner = owner;
    this.#first = first;
    // One that will speak another protocol is read by whoever speaks that.
    const isHttpAlone = first.call.upgrade === undefined;
    const socket = dial.open(isHttpAlone ? (bytes) => this.#onRead(bytes) : undefined);
    this.#socket = socket;
    this.#cancelOpening = of.timed(() => this.destroy(new Error("it took too long to connect")));
    if (!isHttpAlone) socket.on("readable", this.#onReadable);
    socket.once(dial.opened, () => this.#onOpen());
    socket.on("end", this.#onEnd);
    socket.on("error", this.#onError);
    socket.on("close", this.#onClose);
  }

  get isGone(): boolean {
    return this.#socket.destroyed;
  }

  /** False: its handler refused, and the connection is as it was. */
  send(waiting: WaitingCall): boolean {
    const running = new RunningCall(waiting, this);
    if (!mayWrite(running)) return false;
    this.#running = running;
    this.#reader.begin(waiting.call);
    this.#write(waiting);
    return true;
  }

  abort(call: RunningCall): void {
    if (this.#running !== call) return;
    this.#running = undefined;
    this.#socket.destroy();
  }

  pause(call: RunningCall): void {
    if (this.#running !== call) return;
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(call: RunningCall): void {
    if (this.#running === call) this.#readOn();
  }

  /** Ends it, and what runs on it with a fault. */
  destroy(why?: Error): void {
    this.#fault ??= why;
    this.#socket.destroy();
  }

  #readOn(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#socket.resume();
  }

  #write({ head, call: { body } }: WaitingCall): void {
    const socket = this.#socket;
    if (body.length > ONE_WRITE_BYTES_MAX) {
      socket.cork();
      socket.write(head, "latin1");
      socket.write(body);
      socket.uncork();
      return;
    }
    const bytes = Buffer.allocUnsafe(head.length + body.length);
    bytes.write(head, 0, "latin1");
    bytes.set(body, head.length);
    socket.write(bytes);
  }

  #onOpen(): void {
    this.#cancelOpening();
    const first = this.#first;
    this.#first = undefined;
    if (first === undefined || this.send(first)) return;
    // What is read as a stream is of no use to other calls: it would go on being read while they pause.
    if (first.call.upgrade === undefined) this.#setFree();
    else this.#socket.destroy();
  }

  #onRead(bytes: number): boolean {
    this.#read(READ_INTO, bytes);
    return !this.#isPaused;
  }

  readonly #onReadable = (): void => {
    for (let chunk = this.#socket.read(); chunk !== null; chunk = this.#nextChunk()) {
      this.#read(chunk, chunk.length);
    }
  };

  /** Once it is somebody else's, what comes is not for us to take. */
  #nextChunk(): Buffer | null {
    return this.#running === undefined ? null : this.#socket.read();
  }

  #read(bytes: Buffer, length: number): void {
    reads += 1;
    const read = reads;
    this.#reader.push(bytes, length);
    while (this.#tellNext()) {
      if (read === reads) continue;
      this.#fail(new Error("invariant broken: a read within a read"));
      return;
    }
  }

  /** Tells what was read next. False: that is all for now. */
  #tellNext(): boolean {
    const reader = this.#reader;
    const handler = this.#running?.handler;
    const reading = reader.next();
    if (reading === "more") return false;
    if (reading === "fault") {
      this.#fail(new Error(reader.fault));
      return false;
    }
    // It was given up within this read.
    if (handler === undefined) return false;
    this.#tell(handler, reading);
    return this.#running !== undefined;
  }

  #tell(handler: CallHandler, reading: "body" | "head" | "whole" | "upgraded"): void {
    try {
      if (reading === "body") handler.onBody(this.#reader.body);
      else if (reading === "head") this.#tellHead(handler);
      else if (reading === "whole") this.#endCall(handler);
      else this.#upgrade(handler);
    } catch (error) {
      // A bug of whoever is told ends the call as any other fault, be it in the last that there was to tell.
      this.#running = undefined;
      this.#socket.destroy();
      handler.onFault(faultOf(error));
    }
  }

  #tellHead(handler: CallHandler): void {
    const { head } = this.#reader;
    if (head !== undefined) handler.onHead(head.status, head.rawHeaders);
  }

  #endCall(handler: CallHandler): void {
    const call = this.#running?.call;
    this.#running = undefined;
    if (call !== undefined && this.#isReusableAfter(call)) this.#setFree();
    else this.#socket.destroy();
    handler.onEnd();
  }

  #isReusableAfter({ method, upgrade }: OriginCall): boolean {
    const { head, hasRest } = this.#reader;
    if (head === undefined || hasRest || this.#socket.writableLength > 0) return false;
    if (upgrade !== undefined || !head.persists || head.framing === "until-close") return false;
    // A body that must not be there may come all the same, later.
    const isBodiless = head.status === 204 || head.status === 304;
    return method !== "HEAD" && !(isBodiless && head.framing !== 0);
  }

  #setFree(): void {
    this.keptMs = this.#reader.head?.keptMs;
    this.#readOn();
    this.#owner.onFree(this);
  }

  #upgrade(handler: CallHandler): void {
    const socket = this.#socket;
    const { head } = this.#reader;
    this.#running = undefined;
    socket.off("readable", this.#onReadable).off("end", this.#onEnd).off("error", this.#onError);
    socket.off("close", this.#onClose);
    this.#owner.onGone(this);
    if (this.#reader.hasRest) socket.unshift(this.#reader.takeRest());
    handler.onUpgraded?.(head?.rawHeaders ?? [], socket);
  }

  readonly #onEnd = (): void => {
    const handler = this.#running?.handler;
    if (handler !== undefined && this.#reader.finish() === "whole") this.#tell(handler, "whole");
    else this.destroy(new Error(this.#reader.fault || "the other side has closed"));
  };

  readonly #onError = (error: Error): void => {
    this.#fault ??= error;
  };

  readonly #onClose = (): void => {
    this.#cancelOpening();
    this.#fail(this.#fault ?? new Error("the connection was closed"));
    this.#owner.onGone(this);
  };

  #fail(fault: Error): void {
    const failed = this.#running ?? this.#first;
    this.#running = undefined;
    this.#first = undefined;
    this.#socket.destroy();
    failed?.handler.onFault(fault);
  }
}

/** Up to here copying a body behind its head costs less than a second piece of the write. */
const ONE_WRITE_BYTES_MAX = 16 * 1024;

/** A call on its connection, from right before it is written. */
class RunningCall implements CallControl {
  readonly call: OriginCall;
  readonly handler: CallHandler;
  readonly #connection: OriginConnection;

  constructor({ call, handler }: WaitingCall, connection: OriginConnection) {
    this.call = call;
    this.handler = handler;
    this.#connection = connection;
  }

  abort(): void {
    this.#connection.abort(this);
  }

  pause(): void {
    this.#connection.pause(this);
  }

  resume(): void {
    this.#connection.resume(this);
  }
}

function mayWrite(running: RunningCall): boolean {
  const { handler } = running;
  try {
    return handler.mayWrite(running);
  } catch (error) {
    handler.onFault(faultOf(error));
    return false;
  }
}

function faultOf(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
