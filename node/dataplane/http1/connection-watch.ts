import type { Socket } from "node:net";
import type { Cancel, Clock } from "../../../ports/clock.ts";
import type { GatewayLimits } from "../gateway-limits.ts";

/** What is watched of a connection. */
export type Watched = {
  readonly socket: Socket;
  /** A request was served on it. */
  readonly hasBegun: boolean;
  /** The head that it owes did not come in time. */
  headTooSlow(): void;
};

export type WatchLimits = Pick<
  GatewayLimits,
  "headTimeoutMs" | "headSweepMs" | "keepAliveTimeoutMs" | "idleEvictableMs"
>;

/** Clients that use a connection up to the time that they were told find it open. */
const KEPT_LONGER_MS = 1_000;

/**
 * The waits of a door's connections: for a head, and between two requests. They share one timer, which runs while
 * one waits.
 */
export class ConnectionWatch {
  readonly #clock: Clock;
  readonly #limits: WatchLimits;
  /** Without an exchange, and since when, monotonic ns; the longest waiting first. */
  readonly #idle = new Map<Watched, bigint>();
  /** Those that owe a head, and since when. */
  readonly #owing = new Map<Watched, bigint>();
  #cancelSweep: Cancel | undefined;

  constructor(of: { readonly clock: Clock; readonly limits: WatchLimits }) {
    this.#clock = of.clock;
    this.#limits = of.limits;
  }

  /** A connection that is new: its time for a first head runs. */
  opened(connection: Watched): void {
    this.owesHead(connection);
    this.rests(connection);
  }

  /** Some of a head has come, or is to come first. */
  owesHead(connection: Watched): void {
    if (!this.#owing.has(connection)) this.#owing.set(connection, this.#clock.monoNs());
  }

  /** No exchange runs on it. */
  rests(connection: Watched): void {
    this.#idle.set(connection, this.#clock.monoNs());
    this.#cancelSweep ??= this.#clock.after(this.#limits.headSweepMs, this.#sweep);
  }

  /** It is serving, or ending. */
  isBusy(connection: Watched): void {
    this.#idle.delete(connection);
    this.#owing.delete(connection);
  }

  /** Those that wait for their next request and have said nothing of it. */
  resting(): readonly Watched[] {
    return [...this.#idle.keys()].filter((one) => one.hasBegun && !this.#owing.has(one));
  }

  /**
   * Makes room by closing the connection that has been without a request for longest, unless even
   * that one may just not have been read yet.
   */
  evict(): Watched | undefined {
    const beforeNs = this.#clock.monoNs() - ns(this.#limits.idleEvictableMs);
    for (const [connection, sinceNs] of this.#idle) {
      if (sinceNs > beforeNs) return undefined;
      this.isBusy(connection);
      connection.socket.destroy();
      return connection;
    }
    return undefined;
  }

  stop(): void {
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }

  readonly #sweep = (): void => {
    const { headTimeoutMs, keepAliveTimeoutMs, headSweepMs } = this.#limits;
    const nowNs = this.#clock.monoNs();
    for (const [connection, sinceNs] of this.#owing) {
      if (nowNs - sinceNs < ns(headTimeoutMs)) break;
      this.isBusy(connection);
      connection.headTooSlow();
    }
    for (const [connection, sinceNs] of this.#idle) {
      if (nowNs - sinceNs < ns(keepAliveTimeoutMs + KEPT_LONGER_MS)) break;
      if (this.#owing.has(connection)) continue;
      this.isBusy(connection);
      connection.socket.destroy();
    }
    const isNeeded = this.#idle.size + this.#owing.size > 0;
    this.#cancelSweep = isNeeded ? this.#clock.after(headSweepMs, this.#sweep) : undefined;
  };
}

function ns(ms: number): bigint {
  return BigInt(ms) * 1_000_000n;
}
