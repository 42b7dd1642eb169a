import type { Clock } from "../ports/clock.ts";
import type { Store, Write } from "../ports/store.ts";
import {
  mergedSightings,
  NAMES_PER_SOURCE_MAX,
  type StrangerNews,
  type StrangerSighting,
  strangerKey,
} from "./stranger-sightings.ts";

/** Strangers that a node remembers; of more, those that have tried last. */
export const STRANGERS_MAX = 1_000;
/** One that has not tried for so long is forgotten. */
export const STRANGER_KEPT_MS = 30 * 24 * 60 * 60 * 1_000;
/** Changed ones that are written in one go; the others' turn is a second later. */
const WRITES_PER_TICK_MAX = 100;
const PREFIX = "stranger/";

export type StrangerBookDeps = {
  readonly store: Store;
  readonly clock: Clock;
  readonly onFault: (error: unknown) => void;
};

/**
 * Who has tried to get out of this machine and is no agent: since when, whereto, for which models.
 *
 * It lies on the node's disk, about a second behind, because "first seen" is worth nothing if it means
 * "since the last restart". Nothing is decided by it.
 */
export class StrangerBook {
  readonly #deps: StrangerBookDeps;
  /** In the order of their last try. */
  readonly #known = new Map<string, StrangerSighting>();
  readonly #unwritten = new Set<string>();
  #isWriting = false;
  #unlisted = 0;

  constructor(deps: StrangerBookDeps) {
    this.#deps = deps;
    const stored = deps.store.list(PREFIX).flatMap(([key, bytes]) => {
      const sighting = readSighting(bytes);
      // What an older program wrote otherwise is taken away with the next write.
      if (sighting === undefined) this.#unwritten.add(key.slice(PREFIX.length));
      return sighting === undefined ? [] : [sighting];
    });
    for (const one of stored.sort((a, b) => a.lastMs - b.lastMs))
      this.#known.set(strangerKey(one), one);
  }

  /** What a data loop saw. */
  note({ sightings, unlisted }: StrangerNews): void {
    this.#unlisted += unlisted;
    for (const one of sightings) {
      const key = strangerKey(one);
      const known = this.#known.get(key);
      this.#known.delete(key);
      this.#known.set(key, known === undefined ? one : mergedSightings(known, one));
      this.#unwritten.add(key);
    }
    for (const key of this.#known.keys()) {
      if (this.#known.size <= STRANGERS_MAX) break;
      this.#forget(key);
    }
  }

  /** Forgets who has not tried for long, and writes what has changed. */
  tick(): void {
    const since = this.#deps.clock.nowMs() - STRANGER_KEPT_MS;
    for (const [key, { lastMs }] of this.#known) {
      if (lastMs >= since) break;
      this.#forget(key);
    }
    void this.#write();
  }

  /** By key, in no order that means anything. */
  all(): readonly StrangerSighting[] {
    return [...this.#known.values()];
  }

  get count(): number {
    return this.#known.size;
  }

  /** Tries whose source was not remembered, because too many came at once. */
  get unlisted(): number {
    return this.#unlisted;
  }

  #forget(key: string): void {
    this.#known.delete(key);
    this.#unwritten.add(key);
  }

  async #write(): Promise<void> {
    if (this.#isWriting || this.#unwritten.size === 0) return;
    this.#isWriting = true;
    const keys = [...this.#unwritten].slice(0, WRITES_PER_TICK_MAX);
    for (const key of keys) this.#unwritten.delete(key);
    const writes = keys.map((key): Write => {
      const known = this.#known.get(key);
      const value = known && Buffer.from(JSON.stringify(known));
      return { key: `${PREFIX}${key}`, value };
    });
    try {
      await this.#deps.store.commit(writes);
    } catch (error) {
      for (const key of keys) this.#unwritten.add(key);
      this.#deps.onFault(error);
    } finally {
      this.#isWriting = false;
    }
  }
}

/** Undefined: it is not of the form that this program writes. */
function readSighting(bytes: Uint8Array): StrangerSighting | undefined {
  try {
    const one = JSON.parse(Buffer.from(bytes).toString()) as StrangerSighting;
    const numbers = [one.firstMs, one.lastMs, one.tries];
    const lists = [one.doors, one.hosts, one.models, one.reasons];
    const isSound =
      typeof one.source === "string" &&
      numbers.every(Number.isSafeInteger) &&
      lists.every((list) => Array.isArray(list) && list.length <= NAMES_PER_SOURCE_MAX);
    return isSound ? one : undefined;
  } catch {
    return undefined;
  }
}
