/**
 * Which refusals become an alert: of one agent and reason at most one a minute, with how many there were.
 *
 * B1. The first refusal of a kind is told at once; later ones are counted until its minute is over, and
 *     then told as one alert.
 * B2. Every refusal is in the count of exactly one alert.
 * B3. Kinds are bounded. Beyond the bound agents are told together, as `*`, so that one that draws ever new
 *     reasons neither fills memory nor hides another.
 */

import type { AgentEvent } from "../thread-messages.ts";

/** Time in which one agent and reason is told once, ms. */
export const ALERT_EVERY_MS = 60_000;
/** Agents and reasons that are remembered at once. */
export const ALERT_KINDS_MAX = 10_000;
/** Agent of an alert that stands for those that found no place. */
export const ALL_OTHERS = "*";

/** What refusals have been counted to. Times in ms since the Unix epoch. */
export type Refusals = {
  readonly count: number;
  readonly firstMs: number;
  readonly lastMs: number;
  /** Of the last one. */
  readonly stage: number;
  readonly requestId: string;
};

export type AlertKind = { readonly agent: string; readonly reason: string };

/** A kind as it is kept: when it was told, and what has come since. */
export type KindState = AlertKind & {
  readonly toldMs: number;
  readonly waiting: Refusals | undefined;
};

export type DueAlert = AlertKind & Refusals;

export class AlertBook {
  readonly #kinds = new Map<string, KindState>();
  /** Keys of kinds that changed since `takeChanged`. */
  readonly #changed = new Set<string>();

  /** @param kept What an earlier run of the book gave by `takeChanged`. */
  constructor(kept: Iterable<KindState> = []) {
    for (const kind of kept) this.#kinds.set(kindKey(kind), kind);
  }

  /** Counts a refusal. @returns Whether its kind may be told now. */
  note({ agentId, reason, requestId, stage, atMs, more = 0 }: AgentEvent): boolean {
    const own = { agent: agentId, reason };
    const isKnown = this.#kinds.has(kindKey(own));
    const isFull = !isKnown && this.#kinds.size >= ALERT_KINDS_MAX;
    const { agent } = isFull ? { agent: ALL_OTHERS } : own;
    const before = this.#kinds.get(kindKey({ agent, reason }));
    const count = (before?.waiting?.count ?? 0) + 1 + more;
    const firstMs = before?.waiting?.firstMs ?? atMs;
    const waiting = { count, firstMs, lastMs: atMs, stage, requestId };
    const toldMs = before?.toldMs ?? 0;
    this.#put({ agent, reason, toldMs, waiting });
    return !isQuiet(toldMs, atMs);
  }

  /**
   * What is to be told now, at most `room` of it; what is left stays counted. Forgets kinds whose minute is
   * over and that nothing has come of since.
   */
  takeDue(nowMs: number, room: number): readonly DueAlert[] {
    const due: DueAlert[] = [];
    for (const [key, { agent, reason, toldMs, waiting }] of this.#kinds) {
      if (isQuiet(toldMs, nowMs)) continue;
      if (waiting === undefined) {
        this.#kinds.delete(key);
        this.#changed.add(key);
      } else if (due.length < room) {
        due.push({ agent, reason, ...waiting });
        this.#put({ agent, reason, toldMs: nowMs, waiting: undefined });
      }
    }
    return due;
  }

  /** Kinds that changed since the last call, by key; undefined: it is forgotten. */
  takeChanged(): readonly (readonly [key: string, state: KindState | undefined])[] {
    const changed = [...this.#changed].map((key) => [key, this.#kinds.get(key)] as const);
    this.#changed.clear();
    return changed;
  }

  #put(kind: KindState): void {
    const key = kindKey(kind);
    this.#kinds.set(key, kind);
    this.#changed.add(key);
  }
}

/** Told within a minute, in either direction: a clock that was set back silences nothing for hours. */
function isQuiet(toldMs: number, nowMs: number): boolean {
  return Math.abs(nowMs - toldMs) < ALERT_EVERY_MS;
}

function kindKey({ agent, reason }: AlertKind): string {
  return `${agent} ${reason}`;
}
