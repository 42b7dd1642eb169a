import type { MessagePort } from "node:worker_threads";
import {
  type AppendOptions,
  type Bus,
  BusFault,
  type BusFaultCode,
  type BusMessage,
} from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import { errorMessage } from "../ports/error-message.ts";
import { streamOf } from "../proto/subjects.ts";
import {
  callListener,
  mustBeMsgId,
  mustBePattern,
  mustBePlainSubject,
  mustBeStream,
  mustBeSubject,
  mustFit,
} from "./bus-subject.ts";
import { systemClock } from "./system-clock.ts";

/** Bytes on their way to the other thread; messages beyond are lost, as to a slow consumer. */
export const UNACKED_BYTES_MAX = 32 * 1024 * 1024;
/** What one message costs beside its payload. */
const MESSAGE_OVERHEAD_BYTES = 512;
/** The other thread says so often what it has taken. */
const ACK_EVERY_BYTES = 256 * 1024;

type Call =
  | { readonly t: "ask"; readonly subject: string; readonly bytes: Uint8Array; timeoutMs: number }
  | {
      readonly t: "append";
      readonly subject: string;
      readonly bytes: Uint8Array;
      readonly options: AppendOptions;
    }
  | {
      readonly t: "read";
      readonly stream: string;
      readonly fromSeq: number;
      readonly count: number;
    }
  | {
      readonly t: "last";
      readonly stream: string;
      readonly subject: string;
      readonly from: "any" | undefined;
    };

/** From the thread that uses the bus. */
type ToServer =
  | { readonly t: "send"; readonly subject: string; readonly bytes: Uint8Array }
  | { readonly t: "listen"; readonly listener: number; readonly pattern: string }
  | { readonly t: "stop"; readonly listener: number }
  | { readonly t: "respond"; readonly reply: number; readonly bytes: Uint8Array }
  | { readonly t: "call"; readonly id: number; readonly call: Call }
  | { readonly t: "taken"; readonly bytes: number };

/** To the thread that uses the bus. */
type ToClient =
  | {
      readonly t: "message";
      readonly listener: number;
      readonly subject: string;
      readonly bytes: Uint8Array;
      readonly seq: number | undefined;
      readonly reply: number | undefined;
    }
  | { readonly t: "result"; readonly id: number; readonly value: unknown }
  | {
      readonly t: "fault";
      readonly id: number;
      readonly code: BusFaultCode;
      readonly message: string;
    }
  /** Messages may have been lost before this one. */
  | { readonly t: "up" };

/** Answers that the other thread may still give. The oldest lapse, as they do on a network. */
const REPLIES_MAX = 10_000;
/** Calls that wait for the other thread. */
const CALLS_MAX = 10_000;

/**
 * Lets the thread at the other end of `port` use `bus` through `busOverPort`.
 *
 * The bus is closed when the port is, whichever side closes it or ends.
 */
export function serveBusOverPort(port: MessagePort, bus: Bus): void {
  const server = new PortServer(port, bus);
  port.on("message", (message: ToServer) => server.take(message));
  port.on("close", () => void bus.close());
  bus.onUp(() => server.post({ t: "up" }));
}

class PortServer {
  readonly #port: MessagePort;
  readonly #bus: Bus;
  readonly #stops = new Map<number, () => void>();
  readonly #replies = new Map<number, (bytes: Uint8Array) => void>();
  #replyNo = 0;
  #unackedBytes = 0;
  #hasLost = false;

  constructor(port: MessagePort, bus: Bus) {
    this.#port = port;
    this.#bus = bus;
  }

  take(message: ToServer): void {
    switch (message.t) {
      case "send":
        this.#bus.send(message.subject, message.bytes);
        return;
      case "listen":
        this.#listen(message.listener, message.pattern);
        return;
      case "stop":
        this.#stops.get(message.listener)?.();
        this.#stops.delete(message.listener);
        return;
      case "respond":
        this.#replies.get(message.reply)?.(message.bytes);
        this.#replies.delete(message.reply);
        return;
      case "taken":
        this.#taken(message.bytes);
        return;
      case "call":
        void this.#call(message.id, message.call);
        return;
    }
  }

  post(message: ToClient): void {
    this.#port.postMessage(message);
  }

  #listen(listener: number, pattern: string): void {
    const stop = this.#bus.listen(pattern, ({ subject, bytes, seq, respond }) => {
      const cost = bytes.length + MESSAGE_OVERHEAD_BYTES;
      if (this.#unackedBytes + cost > UNACKED_BYTES_MAX) {
        this.#hasLost = true;
        return;
      }
      this.#unackedBytes += cost;
      const reply = respond && this.#keepReply(respond);
      const copy = new Uint8Array(bytes);
      const message: ToClient = { t: "message", listener, subject, bytes: copy, seq, reply };
      this.#port.postMessage(message, [copy.buffer]);
    });
    this.#stops.set(listener, stop);
  }

  #keepReply(respond: (bytes: Uint8Array) => void): number {
    const oldest = this.#replies.keys().next();
    if (this.#replies.size >= REPLIES_MAX && !oldest.done) this.#replies.delete(oldest.value);
    this.#replyNo += 1;
    this.#replies.set(this.#replyNo, respond);
    return this.#replyNo;
  }

  #taken(bytes: number): void {
    this.#unackedBytes -= bytes;
    if (!this.#hasLost || this.#unackedBytes > UNACKED_BYTES_MAX / 2) return;
    this.#hasLost = false;
    this.post({ t: "up" });
  }

  async #call(id: number, call: Call): Promise<void> {
    try {
      this.post({ t: "result", id, value: await this.#answer(call) });
    } catch (error) {
      const code = error instanceof BusFault ? error.code : "unknown";
      const message = errorMessage(error);
      this.post({ t: "fault", id, code, message: message.replace(`${code}: `, "") });
    }
  }

  #answer(call: Call): Promise<unknown> {
    switch (call.t) {
      case "ask":
        return this.#bus.ask(call.subject, call.bytes, call.timeoutMs);
      case "append":
        return this.#bus.append(call.subject, call.bytes, call.options);
      case "read":
        return this.#bus.read(call.stream, call.fromSeq, call.count);
      case "last":
        return this.#bus.last(call.stream, call.subject, call.from);
    }
  }
}

/** The bus that another thread of this process serves at the other end of `port`. */
export function busOverPort(port: MessagePort, clock: Clock = systemClock): Bus {
  return new PortClient(port, clock);
}

type Waiting = {
  readonly resolve: (value: unknown) => void;
  readonly reject: (fault: BusFault) => void;
};

class PortClient implements Bus {
  readonly #port: MessagePort;
  readonly #clock: Clock;
  readonly #listeners = new Map<number, (message: BusMessage) => void>();
  readonly #waiting = new Map<number, Waiting>();
  readonly #onUp: (() => void)[] = [];
  #listenerNo = 0;
  #callNo = 0;
  #takenBytes = 0;
  #isOpen = true;

  constructor(port: MessagePort, clock: Clock) {
    this.#port = port;
    this.#clock = clock;
    port.on("message", (message: ToClient) => this.#take(message));
    port.on("close", () => this.#closed());
  }

  send(subject: string, bytes: Uint8Array): void {
    mustBePlainSubject(subject);
    mustFit(bytes);
    this.#post({ t: "send", subject, bytes: new Uint8Array(bytes) });
  }

  listen(pattern: string, fn: (message: BusMessage) => void): () => void {
    mustBePattern(pattern);
    this.#listenerNo += 1;
    const listener = this.#listenerNo;
    this.#listeners.set(listener, fn);
    this.#post({ t: "listen", listener, pattern });
    return () => {
      if (this.#listeners.delete(listener)) this.#post({ t: "stop", listener });
    };
  }

  async ask(subject: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    mustBePlainSubject(subject);
    mustFit(bytes);
    const call: Call = { t: "ask", subject, bytes: new Uint8Array(bytes), timeoutMs };
    return (await this.#call(call, timeoutMs)) as Uint8Array;
  }

  async append(
    subject: string,
    bytes: Uint8Array,
    options: AppendOptions,
  ): Promise<{ readonly seq: number } | "conflict"> {
    mustBeSubject(subject);
    mustBeMsgId(options.msgId);
    mustFit(bytes);
    if (!streamOf(subject)) throw new TypeError(`no stream takes ${subject}`);
    const call: Call = { t: "append", subject, bytes: new Uint8Array(bytes), options };
    return (await this.#call(call)) as { readonly seq: number } | "conflict";
  }

  async read(stream: string, fromSeq: number, count: number): Promise<readonly BusMessage[]> {
    mustBeStream(stream);
    return (await this.#call({ t: "read", stream, fromSeq, count })) as readonly BusMessage[];
  }

  async last(stream: string, subject: string, from?: "any"): Promise<BusMessage | undefined> {
    mustBeStream(stream);
    mustBeSubject(subject);
    return (await this.#call({ t: "last", stream, subject, from })) as BusMessage | undefined;
  }

  onUp(fn: () => void): void {
    this.#onUp.push(fn);
    // The connection stands from the first, so nothing else would tell a late listener.
    queueMicrotask(() => {
      if (this.#isOpen) callListener(fn);
    });
  }

  isUp(): boolean {
    return this.#isOpen;
  }

  async close(): Promise<void> {
    this.#closed();
    this.#port.close();
  }

  #post(message: ToServer): void {
    if (this.#isOpen) this.#port.postMessage(message);
  }

  #take(message: ToClient): void {
    if (!this.#isOpen) return;
    switch (message.t) {
      case "message":
        this.#acknowledge(message.bytes.length + MESSAGE_OVERHEAD_BYTES);
        this.#deliver(message);
        return;
      case "result":
        this.#waiting.get(message.id)?.resolve(message.value);
        return;
      case "fault":
        this.#waiting.get(message.id)?.reject(new BusFault(message.code, message.message));
        return;
      case "up":
        for (const fn of this.#onUp) callListener(fn);
    }
  }

  #deliver(message: Extract<ToClient, { t: "message" }>): void {
    const fn = this.#listeners.get(message.listener);
    if (!fn) return;
    const { subject, bytes, seq, reply } = message;
    const respond = (answer: Uint8Array): void => {
      mustFit(answer);
      this.#post({ t: "respond", reply: reply as number, bytes: new Uint8Array(answer) });
    };
    callListener(() =>
      fn({
        subject,
        bytes,
        ...(seq === undefined ? {} : { seq }),
        ...(reply === undefined ? {} : { respond }),
      }),
    );
  }

  #acknowledge(bytes: number): void {
    this.#takenBytes += bytes;
    if (this.#takenBytes < ACK_EVERY_BYTES) return;
    this.#post({ t: "taken", bytes: this.#takenBytes });
    this.#takenBytes = 0;
  }

  #call(call: Call, timeoutMs?: number): Promise<unknown> {
    if (!this.#isOpen) return Promise.reject(new BusFault("closed", "the connection is closed"));
    if (this.#waiting.size >= CALLS_MAX) {
      return Promise.reject(new BusFault("timeout", `${CALLS_MAX} calls are waiting`));
    }
    this.#callNo += 1;
    const id = this.#callNo;
    return new Promise((resolve, reject) => {
      // The thread that serves may itself be stuck, so its own timer is not enough.
      const cancel =
        timeoutMs === undefined
          ? () => undefined
          : this.#clock.after(timeoutMs, () =>
              this.#waiting.get(id)?.reject(new BusFault("timeout", `${timeoutMs} ms`)),
            );
      const leave = (): void => {
        cancel();
        this.#waiting.delete(id);
      };
      this.#waiting.set(id, {
        resolve: (value) => {
          leave();
          resolve(value);
        },
        reject: (fault) => {
          leave();
          reject(fault);
        },
      });
      this.#post({ t: "call", id, call });
    });
  }

  #closed(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const fault = new BusFault("closed", "the thread that serves the bus is gone");
    for (const { reject } of this.#waiting.values()) reject(fault);
  }
}
