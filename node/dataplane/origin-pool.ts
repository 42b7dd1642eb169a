import type { Cancel, Clock } from "../../ports/clock.ts";
import type { CallHandler, OriginCall } from "./origin/call.ts";
import type { OriginDial } from "./origin/dial-origin.ts";
import {
  type ConnectionOwner,
  OriginConnection,
  type WaitingCall,
} from "./origin/origin-connection.ts";
import { requestHead } from "./origin/request-head.ts";

/** How often it is looked whether connections were free for too long; their times are whole seconds of the pool. */
const SWEEP_MS = 1_000;

/** A server's word for how long it keeps a connection ends so much before that, and is believed up to a limit. */
const KEPT_MARGIN_MS = 2_000;
const KEPT_MS_MAX = 600_000;

export type OriginPoolOptions = {
  readonly dial: OriginDial;
  readonly clock: Pick<Clock, "after">;
  /** TCP and TLS together. */
  readonly connectTimeoutMs: number;
  /** After so long a connection takes no more calls. */
  readonly ageMsMax: number;
  /** How long one stays open that nobody needs, where its server does not say. 0: none serves twice. */
  readonly keepMs: number;
};

/**
 * The connections to one origin, each of which carries one call at a time.
 *
 * P1. A connection is among the free ones exactly while nothing runs on it, and last in, first out: those
 *     that are not needed fall silent, and go.
 * P2. One that could not be made, was closed by the far side or is too old takes no further call; what it
 *     has is still carried out.
 * P3. A call is given its connection, and written, when the turn's input has all been read, and on none whose last
 *     answer ended in that turn: what a server sent beside its answers, or its end, is seen before. So the
 *     records of the turn's calls are one write too.
 * P4. A call that was not written has not begun, and goes on another connection; one that was never does.
 * P5. What goes wrong with one call of a turn is that call's fault alone.
 */
export class OriginPool implements ConnectionOwner {
  readonly #options: OriginPoolOptions;
  /** Of no call, the one that was used last at the end. Some may be gone. */
  readonly #free: OriginConnection[] = [];
  /** Became free in this turn. */
  #freed: OriginConnection[] = [];
  #waiting: WaitingCall[] = [];
  readonly #all = new Set<OriginConnection>();
  #hasTurn = false;
  #nowS = 0;
  #cancelSweep: Cancel | undefined;
  #isClosing = false;
  readonly #closed = Promise.withResolvers<void>();

  constructor(options: OriginPoolOptions) {
    this.#options = options;
  }

  /** Always takes it: there are as many connections as there is need of. */
  dispatch(call: OriginCall, handler: CallHandler): void {
    try {
      const { dial, keepMs } = this.#options;
      const head = requestHead(call, { host: dial.host, persists: keepMs > 0 });
      this.#waiting.push({ call, handler, head });
    } catch (error) {
      handler.onFault(error as Error);
      return;
    }
    this.#plan();
  }

  /** Connections, those included that are being made or are closing. */
  get size(): number {
    return this.#all.size;
  }

  /** Resolves when what runs has ended and all connections are closed. */
  close(): Promise<void> {
    this.#isClosing = true;
    for (const connection of [...this.#free, ...this.#freed]) connection.destroy();
    this.#endIfEmpty();
    return this.#closed.promise;
  }

  /** Ends what runs, and closes all connections. */
  destroy(): Promise<void> {
    const why = new Error("the connections were closed");
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { handler } of waiting) handler.onFault(why);
    for (const connection of this.#all) connection.destroy(why);
    return this.close();
  }

  onFree(connection: OriginConnection): void {
    this.#freed.push(connection);
    this.#plan();
  }

  onGone(connection: OriginConnection): void {
    this.#all.delete(connection);
    this.#endIfEmpty();
  }

  #plan(): void {
    if (this.#hasTurn) return;
    this.#hasTurn = true;
    setImmediate(() => this.#endTurn());
  }

  #endTurn(): void {
    this.#hasTurn = false;
    const waiting = this.#waiting;
    const freed = this.#freed;
    this.#waiting = [];
    this.#freed = [];
    for (const one of waiting) this.#serve(one);
    for (const connection of freed) this.#putBack(connection);
    this.#endIfEmpty();
  }

  #serve(waiting: WaitingCall): void {
    const free = waiting.call.upgrade === undefined ? this.#takeFree() : undefined;
    if (free !== undefined) {
      if (!free.send(waiting)) this.#putBack(free);
      return;
    }
    try {
      this.#open(waiting);
    } catch (error) {
      waiting.handler.onFault(error as Error);
    }
  }

  #takeFree(): OriginConnection | undefined {
    for (let one = this.#free.pop(); one !== undefined; one = this.#free.pop()) {
      if (!one.isGone) return one;
    }
    return undefined;
  }

  #open(waiting: WaitingCall): void {
    const { dial, clock, connectTimeoutMs } = this.#options;
    if (!waiting.handler.mayConnect()) return;
    const timed = (fn: () => void): Cancel => clock.after(connectTimeoutMs, fn);
    const connection = new OriginConnection({ owner: this, dial, timed, first: waiting });
    connection.madeAtS = this.#nowS;
    this.#all.add(connection);
    this.#planSweep();
  }

  #putBack(connection: OriginConnection): void {
    if (connection.isGone) return;
    if (this.#isClosing || this.#isOld(connection) || this.#keepS(connection) === 0) {
      connection.destroy();
      return;
    }
    connection.freeSinceS = this.#nowS;
    this.#free.push(connection);
  }

  /** For how long it may be free, seconds; a part of one is none. */
  #keepS({ keptMs }: OriginConnection): number {
    const { keepMs } = this.#options;
    const ownMs = keptMs === undefined ? keepMs : Math.min(keptMs - KEPT_MARGIN_MS, KEPT_MS_MAX);
    return keepMs === 0 ? 0 : Math.max(0, Math.floor(ownMs / SWEEP_MS));
  }

  #planSweep(): void {
    this.#cancelSweep ??= this.#options.clock.after(SWEEP_MS, () => this.#sweep());
  }

  #sweep(): void {
    this.#cancelSweep = undefined;
    this.#nowS += 1;
    const kept = this.#free.filter((one) => {
      if (one.isGone) return false;
      if (this.#nowS - one.freeSinceS < this.#keepS(one) && !this.#isOld(one)) return true;
      one.destroy();
      return false;
    });
    this.#free.splice(0, this.#free.length, ...kept);
    if (this.#all.size > 0) this.#planSweep();
  }

  #isOld({ madeAtS }: OriginConnection): boolean {
    return (this.#nowS - madeAtS) * SWEEP_MS >= this.#options.ageMsMax;
  }

  #endIfEmpty(): void {
    if (this.#all.size > 0 || this.#waiting.length > 0) return;
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
    if (this.#isClosing) this.#closed.resolve();
  }
}
