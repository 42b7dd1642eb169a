import { type AppendOptions, type Bus, BusFault, type BusMessage } from "../../ports/bus.ts";
import type { Draw } from "./draw.ts";
import type { SimTime } from "./sim-clock.ts";
import { FOREVER, type SimProcess } from "./sim-process.ts";
import type { SimServer } from "./sim-server.ts";

/** What is wrong with everybody's network. */
export type Weather = {
  /** Share of messages that never arrive. */
  loss: number;
  /** Share that arrive twice. */
  doubled: number;
  /** Share that are late, and so are overtaken. */
  late: number;
  lateMs: number;
  /** Share of reads that a replica answers which has not heard of the newest messages. */
  lagging: number;
};

export const CALM: Weather = { loss: 0, doubled: 0, late: 0, lateMs: 0, lagging: 0 };

/** What is cut of one machine's way to the server. */
export type Cable = { out: boolean; in: boolean };

export type SimBusOptions = {
  readonly time: SimTime;
  readonly server: SimServer;
  readonly process: SimProcess;
  readonly weather: Weather;
  readonly cable: Cable;
  readonly draw: Draw;
  /** The stream holds this now, whether or not whoever appended it hears so. */
  readonly onAppended: (subject: string, bytes: Uint8Array) => void;
};

type Listener = { readonly pattern: string; readonly fn: (message: BusMessage) => void };

const USUAL_MS = { min: 0.1, max: 1.5 };
const CALL_TIMEOUT_MS = 2_000;
const RECONNECT_MS = { min: 100, max: 900 };
/** How often a client finds out whether its server is there. */
const LOOK_MS = 250;

/**
 * One process's connection. Everything that goes over it may be lost, doubled, late or out of order,
 * each way by itself; and the server may go away and come back.
 */
export class SimBus implements Bus {
  readonly #of: SimBusOptions;
  readonly #listeners = new Map<Listener, () => void>();
  readonly #onUp: (() => void)[] = [];
  #connection: Bus | undefined;
  #incarnation = -1;

  constructor(of: SimBusOptions) {
    this.#of = of;
    this.#look();
  }

  send(subject: string, bytes: Uint8Array): void {
    const connection = this.#standing();
    // What a process has handed to its kernel leaves even if the process is no more.
    this.#pass("out", () => this.#isServed() && connection?.send(subject, bytes));
  }

  listen(pattern: string, fn: (message: BusMessage) => void): () => void {
    const listener = { pattern, fn };
    this.#listeners.set(listener, this.#attach(listener));
    return () => {
      this.#listeners.get(listener)?.();
      this.#listeners.delete(listener);
    };
  }

  ask(subject: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    return this.#call(timeoutMs, "timeout", (answer, fail) => {
      this.#pass("out", () => {
        const connection = this.#standing();
        if (connection === undefined) return;
        connection.ask(subject, bytes, 10 * timeoutMs).then(
          (reply) => this.#pass("in", () => answer(reply)),
          (fault: BusFault) => {
            if (fault.code === "no_responders") this.#pass("in", () => fail(fault));
          },
        );
      });
    });
  }

  append(
    subject: string,
    bytes: Uint8Array,
    options: AppendOptions,
  ): Promise<{ readonly seq: number } | "conflict"> {
    return this.#call(CALL_TIMEOUT_MS, "unknown", (answer) => {
      this.#pass("out", () => {
        this.#standing()
          ?.append(subject, bytes, options)
          .then(
            (outcome) => {
              if (outcome !== "conflict") this.#of.onAppended(subject, bytes);
              this.#pass("in", () => answer(outcome));
            },
            () => undefined,
          );
      });
    });
  }

  async read(stream: string, fromSeq: number, count: number): Promise<readonly BusMessage[]> {
    const { weather, draw } = this.#of;
    const messages = await this.#call<readonly BusMessage[]>(
      CALL_TIMEOUT_MS,
      "timeout",
      (answer) => {
        this.#pass("out", () => {
          void this.#standing()
            ?.read(stream, fromSeq, count)
            .then((found) => this.#pass("in", () => answer(found)));
        });
      },
    );
    const isLagging = messages.length > 0 && draw.chance(weather.lagging);
    return isLagging ? messages.slice(0, draw.below(messages.length)) : messages;
  }

  last(stream: string, subject: string): Promise<BusMessage | undefined> {
    return this.#call<BusMessage | undefined>(CALL_TIMEOUT_MS, "timeout", (answer) => {
      this.#pass("out", () => {
        void this.#standing()
          ?.last(stream, subject)
          .then((found) => this.#pass("in", () => answer(found)));
      });
    });
  }

  onUp(fn: () => void): void {
    this.#onUp.push(fn);
    queueMicrotask(() => {
      if (this.isUp() && this.#of.process.isAlive) fn();
    });
  }

  isUp(): boolean {
    return this.#standing() !== undefined;
  }

  async close(): Promise<void> {
    for (const stop of this.#listeners.values()) stop();
    this.#listeners.clear();
  }

  /** The connection, if its server is still the one that it was made to. */
  #standing(): Bus | undefined {
    return this.#isServed() && this.#of.process.isAlive ? this.#connection : undefined;
  }

  #isServed(): boolean {
    const { server } = this.#of;
    return server.hub !== undefined && server.incarnation === this.#incarnation;
  }

  /** Finds out that the server went away, and connects when it is back. */
  #look(): void {
    const { server, process, draw } = this.#of;
    const { clock } = process;
    if (this.#standing() !== undefined) {
      clock.after(LOOK_MS, () => this.#look());
      return;
    }
    const isFirst = this.#incarnation < 0;
    const waitMs = isFirst ? 0 : draw.between(RECONNECT_MS.min, RECONNECT_MS.max);
    clock.after(waitMs, () => {
      if (server.hub !== undefined) this.#connect();
      this.#look();
    });
    if (isFirst && server.hub !== undefined) this.#connect();
  }

  #connect(): void {
    const { server } = this.#of;
    if (this.#standing() !== undefined) return;
    this.#connection = server.hub?.connect();
    this.#incarnation = server.incarnation;
    for (const listener of this.#listeners.keys()) {
      this.#listeners.set(listener, this.#attach(listener));
    }
    for (const fn of this.#onUp) fn();
  }

  #attach({ pattern, fn }: Listener): () => void {
    let isStopped = false;
    const stop = this.#standing()?.listen(pattern, (message) => {
      this.#pass("in", () => {
        if (!isStopped) fn(this.#answerable(message));
      });
    });
    return () => {
      isStopped = true;
      stop?.();
    };
  }

  #answerable(message: BusMessage): BusMessage {
    const { respond } = message;
    if (respond === undefined) return message;
    return { ...message, respond: (bytes) => this.#pass("out", () => respond(bytes)) };
  }

  async #call<T>(
    timeoutMs: number,
    code: "timeout" | "unknown",
    make: (answer: (value: T) => void, fail: (fault: BusFault) => void) => void,
  ): Promise<T> {
    const { clock } = this.#of.process;
    if (!this.#of.process.isAlive) return FOREVER;
    if (!this.isUp()) throw new BusFault("closed", "no connection");
    return new Promise<T>((resolve, reject) => {
      const cancel = clock.after(timeoutMs, () => reject(new BusFault(code, "no answer")));
      make(
        (value) => {
          cancel();
          resolve(value);
        },
        (fault) => {
          cancel();
          reject(fault);
        },
      );
    });
  }

  #pass(way: "out" | "in", deliver: () => void): void {
    const { time, process, cable, weather, draw } = this.#of;
    const { after } = way === "out" ? time : process.clock;
    if (cable[way] || draw.chance(weather.loss)) return;
    const copies = draw.chance(weather.doubled) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const isLate = draw.chance(weather.late);
      const delayMs = draw.between(USUAL_MS.min, isLate ? weather.lateMs : USUAL_MS.max);
      after(delayMs, deliver);
    }
  }
}
