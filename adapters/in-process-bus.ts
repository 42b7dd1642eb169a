import type { MessagePort } from "node:worker_threads";
import { type AppendOptions, type Bus, BusFault, type BusMessage } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import { streamOf } from "../proto/subjects.ts";
import { BusLog } from "./bus-log.ts";
import { serveBusOverPort } from "./bus-over-port.ts";
import {
  callListener,
  committedSubject,
  mustBeMsgId,
  mustBePattern,
  mustBePlainSubject,
  mustBeStream,
  mustBeSubject,
  mustFit,
  READ_COUNT_MAX,
  STREAMS,
  subjectMatches,
} from "./bus-subject.ts";
import { systemClock } from "./system-clock.ts";

/** Messages that are handed out before other work of this thread gets its turn. */
const DELIVERIES_PER_TURN = 256;

/** The bus of one process: what NATS is to many. */
export type BusHub = {
  /** A connection for the hub's own thread. */
  connect(): Bus;
  /** Serves the thread at the other end of `port`, which makes its bus by `busOverPort`. */
  attach(port: MessagePort): void;
  /** Ends every connection. The store is the caller's to close, once this has resolved. */
  close(): Promise<void>;
};

/**
 * Makes a hub.
 *
 * @param store Keeps the streams, under keys that begin with `bus`. An append resolves once its
 *   commit does. Without a store the streams last as long as the hub.
 */
export function createBusHub(store: Store | undefined, clock: Clock = systemClock): BusHub {
  return new Hub(store, clock);
}

type Listener = { readonly pattern: string; readonly fn: (message: BusMessage) => void };

class Hub implements BusHub {
  readonly #logs: ReadonlyMap<string, BusLog>;
  readonly #clock: Clock;
  readonly #listeners = new Set<Listener>();
  readonly #connections = new Set<HubConnection>();
  #deliveries: (() => void)[] = [];
  #isDraining = false;

  constructor(store: Store | undefined, clock: Clock) {
    this.#logs = new Map(STREAMS.map((shape) => [shape.name, new BusLog(shape, store, clock)]));
    this.#clock = clock;
  }

  connect(): Bus {
    const connection = new HubConnection(this, this.#clock, () => {
      this.#connections.delete(connection);
    });
    this.#connections.add(connection);
    return connection;
  }

  attach(port: MessagePort): void {
    serveBusOverPort(port, this.connect());
  }

  async close(): Promise<void> {
    await Promise.all([...this.#connections].map((connection) => connection.close()));
    await Promise.all([...this.#logs.values()].map((log) => log.idle()));
  }

  add(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  log(stream: string): BusLog {
    mustBeStream(stream);
    return this.#logs.get(stream) as BusLog;
  }

  /** Hands a message to whoever listens at this moment. Returns how many that are. */
  publish(message: BusMessage): number {
    let count = 0;
    for (const listener of this.#listeners) {
      if (!subjectMatches(listener.pattern, message.subject)) continue;
      count += 1;
      this.later(() => {
        // Whoever stopped listening in the meantime hears nothing more.
        if (this.#listeners.has(listener)) callListener(() => listener.fn(message));
      });
    }
    return count;
  }

  /** Runs `fn` after the current one, in order of the calls, as a network would. */
  later(fn: () => void): void {
    this.#deliveries.push(fn);
    if (this.#isDraining) return;
    this.#isDraining = true;
    queueMicrotask(() => this.#drain());
  }

  #drain(): void {
    for (let count = 0; count < DELIVERIES_PER_TURN; count += 1) {
      const fn = this.#deliveries[count];
      if (!fn) {
        this.#deliveries = [];
        this.#isDraining = false;
        return;
      }
      fn();
    }
    this.#deliveries = this.#deliveries.slice(DELIVERIES_PER_TURN);
    // Two parties that answer each other must not keep timers and sockets waiting for ever.
    setImmediate(() => this.#drain());
  }
}

class HubConnection implements Bus {
  readonly #hub: Hub;
  readonly #clock: Clock;
  readonly #onClose: () => void;
  readonly #stops = new Set<() => void>();
  readonly #waiting = new Set<(fault: BusFault) => void>();
  #isOpen = true;

  constructor(hub: Hub, clock: Clock, onClose: () => void) {
    this.#hub = hub;
    this.#clock = clock;
    this.#onClose = onClose;
  }

  send(subject: string, bytes: Uint8Array): void {
    mustBePlainSubject(subject);
    mustFit(bytes);
    if (this.#isOpen) this.#hub.publish({ subject, bytes: new Uint8Array(bytes) });
  }

  listen(pattern: string, fn: (message: BusMessage) => void): () => void {
    mustBePattern(pattern);
    if (!this.#isOpen) return () => undefined;
    const remove = this.#hub.add({ pattern, fn });
    const stop = (): void => {
      remove();
      this.#stops.delete(stop);
    };
    this.#stops.add(stop);
    return stop;
  }

  async ask(subject: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    mustBePlainSubject(subject);
    mustFit(bytes);
    this.#mustBeOpen();
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(timeoutMs, () =>
        fail(new BusFault("timeout", `no answer on ${subject} within ${timeoutMs} ms`)),
      );
      const leave = (): void => {
        cancel();
        this.#waiting.delete(fail);
      };
      const fail = (fault: BusFault): void => {
        leave();
        reject(fault);
      };
      const answer = (answerBytes: Uint8Array): void => {
        mustFit(answerBytes);
        const copy = new Uint8Array(answerBytes);
        this.#hub.later(() => {
          leave();
          resolve(copy);
        });
      };
      this.#waiting.add(fail);
      const copy = new Uint8Array(bytes);
      const listeners = this.#hub.publish({ subject, bytes: copy, respond: answer });
      if (listeners === 0) fail(new BusFault("no_responders", subject));
    });
  }

  async append(
    subject: string,
    bytes: Uint8Array,
    options: AppendOptions,
  ): Promise<{ readonly seq: number } | "conflict"> {
    mustBeSubject(subject);
    mustBeMsgId(options.msgId);
    mustFit(bytes);
    this.#mustBeOpen();
    const stream = streamOf(subject);
    if (!stream) throw new TypeError(`no stream takes ${subject}`);
    const stored = await this.#hub.log(stream).append(subject, bytes, options);
    if (stored === "conflict") return stored;
    const { seq, duplicate } = stored;
    const heardOn = committedSubject(subject);
    if (heardOn !== undefined && !duplicate) {
      this.#hub.publish({ subject: heardOn, bytes: new Uint8Array(bytes), seq });
    }
    return { seq };
  }

  async read(stream: string, fromSeq: number, count: number): Promise<readonly BusMessage[]> {
    const log = this.#hub.log(stream);
    this.#mustBeOpen();
    return log.read(fromSeq, Math.min(count, READ_COUNT_MAX));
  }

  async last(stream: string, subject: string): Promise<BusMessage | undefined> {
    const log = this.#hub.log(stream);
    mustBeSubject(subject);
    this.#mustBeOpen();
    return log.last(subject);
  }

  onUp(fn: () => void): void {
    this.#hub.later(() => {
      if (this.#isOpen) callListener(fn);
    });
  }

  isUp(): boolean {
    return this.#isOpen;
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const stop of this.#stops) stop();
    for (const fail of this.#waiting) fail(new BusFault("closed", "the connection was closed"));
    this.#onClose();
  }

  #mustBeOpen(): void {
    if (!this.#isOpen) throw new BusFault("closed", "the connection is closed");
  }
}
