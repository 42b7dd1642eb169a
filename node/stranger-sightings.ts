import { type Door, RECORD_NAME_CHARS_MAX, recordable } from "../audit/record.ts";
import type { Reason } from "../proto/reasons.ts";

// Whoever tries to get out and is no agent of this mesh: a pod that nobody has registered, a program with
// a provider's own key or with none. Each is refused by the chain; here it is only remembered who it was.

/** Sources that one loop tells of in one message; of more it tells how many tries there were. */
export const SOURCES_PER_MESSAGE_MAX = 256;
/** Different hosts, models, doors and reasons that are remembered of one source; the first ones. */
export const NAMES_PER_SOURCE_MAX = 16;
/** Of one name, as many characters as DNS has. */
const HOST_CHARS_MAX = 253;

/** One try, as it was refused. */
export type StrangerTry = {
  /** Address that it came from. */
  readonly source: string;
  /** `namespace/name` of the pod that has this address, where a list of pods says so. */
  readonly pod: string | undefined;
  /** What the pod's labels say it is, where policy or keys know of no such agent. */
  readonly claimed: string | undefined;
  readonly door: Door;
  /** Host or `address:port` that was wanted, as far as it was said. */
  readonly host?: string | undefined;
  readonly reason: Reason;
};

/** What is known of one source. Times are wall clock, ms since the Unix epoch. */
export type StrangerSighting = {
  readonly source: string;
  readonly pod: string | undefined;
  readonly claimed: string | undefined;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly tries: number;
  readonly doors: readonly Door[];
  readonly hosts: readonly string[];
  readonly models: readonly string[];
  readonly reasons: readonly Reason[];
};

/** What one loop saw since it told the last time. */
export type StrangerNews = {
  readonly sightings: readonly StrangerSighting[];
  /** Tries of sources that did not fit. */
  readonly unlisted: number;
};

/** The refusals that say: this is nobody we know. */
const OF_STRANGERS: ReadonlySet<Reason> = new Set<Reason>([
  "source_unknown",
  "credential_missing",
  "credential_malformed",
  "foreign_credential",
  "key_unknown",
  "lookups_exhausted",
]);

/** Whether who was refused so is to be looked for by an operator. */
export function isOfStranger(reason: Reason): boolean {
  return OF_STRANGERS.has(reason);
}

/** Gathers what a data loop sees of strangers, within bounds, until it is told on. */
export class StrangerSightings {
  readonly #sightings = new Map<string, StrangerSighting>();
  #unlisted = 0;

  note({ source, pod, claimed, door, host, reason }: StrangerTry, nowMs: number): void {
    const hosts = host === undefined ? [] : [recordable(host, HOST_CHARS_MAX)];
    const of = { source, pod, claimed, doors: [door], hosts, models: [], reasons: [reason] };
    this.#put({ ...of, firstMs: nowMs, lastMs: nowMs, tries: 1 });
  }

  /** The model that a try which was noted before had asked for. */
  noteModel({ source, pod }: Pick<StrangerTry, "source" | "pod">, model: string): void {
    const known = this.#sightings.get(strangerKey({ source, pod }));
    const models = [recordable(model, RECORD_NAME_CHARS_MAX)];
    if (known !== undefined) this.#put({ ...known, tries: 0, models });
  }

  /** Everything since the last call; undefined when there was nothing. */
  take(): StrangerNews | undefined {
    if (this.#sightings.size === 0) return undefined;
    const news = { sightings: [...this.#sightings.values()], unlisted: this.#unlisted };
    this.#sightings.clear();
    this.#unlisted = 0;
    return news;
  }

  #put(sighting: StrangerSighting): void {
    const key = strangerKey(sighting);
    const known = this.#sightings.get(key);
    if (known === undefined && this.#sightings.size >= SOURCES_PER_MESSAGE_MAX) {
      this.#unlisted += sighting.tries;
      return;
    }
    this.#sightings.set(key, known === undefined ? sighting : mergedSightings(known, sighting));
  }
}

/** Addresses of pods are given to others; the name of a pod is not. */
export function strangerKey({ source, pod }: Pick<StrangerSighting, "source" | "pod">): string {
  return pod === undefined ? `address ${source}` : `pod ${pod}`;
}

/** Two accounts of one source as one; `later` says where it is now. */
export function mergedSightings(
  earlier: StrangerSighting,
  later: StrangerSighting,
): StrangerSighting {
  return {
    source: later.source,
    pod: later.pod,
    claimed: later.claimed ?? earlier.claimed,
    firstMs: Math.min(earlier.firstMs, later.firstMs),
    lastMs: Math.max(earlier.lastMs, later.lastMs),
    tries: earlier.tries + later.tries,
    doors: together(earlier.doors, later.doors),
    hosts: together(earlier.hosts, later.hosts),
    models: together(earlier.models, later.models),
    reasons: together(earlier.reasons, later.reasons),
  };
}

function together<T>(earlier: readonly T[], later: readonly T[]): readonly T[] {
  if (later.every((one) => earlier.includes(one))) return earlier;
  return [...new Set([...earlier, ...later])].slice(0, NAMES_PER_SOURCE_MAX);
}
