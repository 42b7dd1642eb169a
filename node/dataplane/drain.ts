import type { Clock } from "../../ports/clock.ts";
import { pause } from "../../ports/pause.ts";
import type { Connections, OpenExchange } from "./connections.ts";

/** What the drain needs of the loop's connections. */
export type DrainedConnections = Pick<Connections, "open">;

/** What those that have not said what they want have for it at least, ms. */
export const LATECOMERS_MS = 200;
/**
 * And each that was there by then since it was taken in, ms: a busy machine brings its word late, and no other process
 * will hear it.
 */
export const LATECOMER_MS = 1_000;
/** How often it looks at least, ms. At first it looks sooner: mostly little is left to wait for, and what is new waits with it. */
export const DRAIN_LOOK_MS = 20;
const FIRST_LOOK_MS = 1;
/** A tunnel that has been silent for so long after an answer has nothing under way, ms. */
export const TUNNEL_QUIET_MS = 2_000;
/** What a client sends so soon behind an answer tells that it was read, and asks for nothing, ms. */
export const TUNNEL_THANKS_MS = 20;
const NS_PER_MS = 1_000_000n;

/**
 * Waits for what is open on a loop, first while it still accepts and then while it does not. It ends nothing.
 *
 * D1. What is read here is known: a request is waited for from its head to the end of its answer, and a connection
 *     between two requests, inspected or at a door, not at all.
 * D2. What is carried unread is guessed. Clients keep a tunnel for the next request, so one that is quiet after its far
 *     side had the last word is not waited for; one that waits for an answer is. The guess is wrong where the last
 *     word was none: session tickets that follow a first request, or a request right behind an answer. What is cut by that
 *     has been silent, either way, for `TUNNEL_QUIET_MS` at least, and was no part of what `outlived` waits for.
 * D3. A client that has said nothing since it was taken in, or let speak, has `LATECOMER_MS` for it: what is new waits, and
 *     whoever opens connections and says nothing would hold that up.
 */
export class Drain {
  readonly #connections: DrainedConnections;
  readonly #clock: Clock;
  #before: ReadonlySet<OpenExchange> = new Set();
  #isReplaced = false;
  #isEnding = false;

  constructor(connections: DrainedConnections, clock: Clock) {
    this.#connections = connections;
    this.#clock = clock;
  }

  /**
   * Resolves once everything has ended that is open now, or at the deadline. What comes meanwhile is not waited for,
   * and what is left then has had its time: `ended` does not wait for it once more. Whoever waits for that does not
   * wait for this any longer. Nothing is guessed here: waiting delays nobody.
   */
  async outlived(deadlineMs: number): Promise<void> {
    this.#isReplaced = true;
    this.#before = new Set(this.#connections.open().filter((one) => !isCarrier(one)));
    await this.#until(
      deadlineMs,
      () => this.#isEnding || !this.#connections.open().some((one) => this.#before.has(one)),
    );
  }

  /** Another process takes this one's place, and what is new is its business. */
  get isReplaced(): boolean {
    return this.#isReplaced;
  }

  /** Resolves once all that were taken in have said what they want, or have had the time to. */
  latecomers(): Promise<void> {
    const beganNs = this.#clock.monoNs();
    const isAwaited = (one: OpenExchange, nowNs: bigint): boolean => {
      const sinceNs = one.arrivingSinceNs?.();
      if (sinceNs === undefined) return false;
      const isOwnTime = sinceNs <= beganNs && nowNs - sinceNs < BigInt(LATECOMER_MS) * NS_PER_MS;
      return isOwnTime || nowNs - beganNs < BigInt(LATECOMERS_MS) * NS_PER_MS;
    };
    return this.#until(
      LATECOMER_MS,
      (nowNs) => !this.#connections.open().some((one) => isAwaited(one, nowNs)),
    );
  }

  /** Resolves once nothing is under way, or at the deadline. */
  ended(deadlineMs: number): Promise<void> {
    this.#isEnding = true;
    const isOver = (exchange: OpenExchange, nowNs: bigint) =>
      this.#before.has(exchange) ||
      isCarrier(exchange) ||
      isQuiet(exchange, nowNs) ||
      isSilent(exchange, nowNs);
    return this.#until(deadlineMs, (nowNs) =>
      this.#connections.open().every((exchange) => isOver(exchange, nowNs)),
    );
  }

  async #until(deadlineMs: number, isOver: (nowNs: bigint) => boolean): Promise<void> {
    const untilNs = this.#clock.monoNs() + BigInt(deadlineMs) * NS_PER_MS;
    for (let lookMs = FIRST_LOOK_MS; ; lookMs = Math.min(2 * lookMs, DRAIN_LOOK_MS)) {
      const nowNs = this.#clock.monoNs();
      if (isOver(nowNs) || nowNs >= untilNs) return;
      await pause(this.#clock, lookMs);
    }
  }
}

function isCarrier(exchange: OpenExchange): boolean {
  return exchange.isCarrier?.() === true;
}

/** Its client has had its time for a first word. */
function isSilent(exchange: OpenExchange, nowNs: bigint): boolean {
  const sinceNs = exchange.silentSinceNs?.();
  return sinceNs !== undefined && nowNs - sinceNs >= BigInt(LATECOMER_MS) * NS_PER_MS;
}

/** The far side had the last word, and that some time ago. */
function isQuiet(exchange: OpenExchange, nowNs: bigint): boolean {
  const last = exchange.lastCarried?.();
  if (last === undefined || last.downNs === 0n) return false;
  const { upNs, downNs } = last;
  const isAnswered = upNs - downNs <= BigInt(TUNNEL_THANKS_MS) * NS_PER_MS;
  const lastNs = upNs > downNs ? upNs : downNs;
  return isAnswered && nowNs - lastNs >= BigInt(TUNNEL_QUIET_MS) * NS_PER_MS;
}
