import { existsSync } from "node:fs";
import { encodeVkey, type VerifierKey } from "../../audit/signed-note.ts";
import type { Anchor } from "../../audit/verify-log.ts";
import { archiveFolder } from "../../coordinator/config.ts";
import { entriesFrom, sizeOf } from "./entries.ts";
import { type LogPlace, logsBelow } from "./log-place.ts";

/** A log as a coordinator's own log names it: what it said last. */
export type ListedLog = {
  readonly origin: string;
  readonly vkey: string;
  readonly size: number;
  readonly root: string;
  /** When it was first named, ms since the Unix epoch. */
  readonly sinceMs: number;
  /** Which log says so. */
  readonly by: string;
};

/** A log that has just begun may be on its way to the archive. */
const ON_ITS_WAY_MS = 60_000;

/**
 * The logs that must exist, by the coordinators' own logs among these. Each of those is a Merkle tree, whose
 * own verdict says whether it is to be believed.
 */
export function listedLogs(places: readonly LogPlace[]): readonly ListedLog[] {
  const listed = new Map<string, ListedLog>();
  for (const place of places.filter(isOwnLog)) {
    for (const entry of readable(place)) {
      const { record } = entry;
      if (record.k !== "log") continue;
      const { origin, vkey, size, root, t } = record;
      // A key is never replaced: what was said first of it stands, and another one is seen to differ.
      const first = listed.get(origin) ?? { vkey, sinceMs: t };
      const isFurther = size >= (listed.get(origin)?.size ?? 0);
      const newest = isFurther ? { size, root } : (listed.get(origin) as ListedLog);
      const { sinceMs } = first;
      listed.set(origin, { ...newest, origin, vkey: first.vkey, sinceMs, by: place.origin });
    }
  }
  return [...listed.values()];
}

/** Logs that are listed, and that are not among these, nor in the archive of a HOME that keeps one. */
export function disappeared(
  listed: readonly ListedLog[],
  of: {
    readonly places: readonly LogPlace[];
    /** Absent: these are all that there are. */
    readonly home?: string;
    readonly nowMs: number;
  },
): readonly ListedLog[] {
  const { places, home, nowMs } = of;
  const archive = home === undefined ? undefined : archiveFolder(home);
  // Logs of other machines are not to be expected where nobody copies them to.
  if (archive !== undefined && !existsSync(archive)) return [];
  const copies = archive === undefined ? [] : logsBelow(archive);
  const here = new Set([...places, ...copies].map(({ origin }) => origin));
  return listed.filter(
    ({ origin, sinceMs }) => !here.has(origin) && nowMs - sinceMs >= ON_ITS_WAY_MS,
  );
}

/** Logs whose key is another one than when they were listed. */
export function withOtherKey(
  listed: readonly ListedLog[],
  keys: readonly VerifierKey[],
): readonly ListedLog[] {
  const known = new Map<string, Set<string>>();
  for (const key of keys) {
    known.set(key.name, (known.get(key.name) ?? new Set()).add(encodeVkey(key)));
  }
  return listed.filter(({ origin, vkey }) => known.get(origin)?.has(vkey) === false);
}

/** What each of them was when it was listed, for holding it against what it is. */
export function anchorOf({ origin, size, root }: ListedLog): Anchor & { readonly origin: string } {
  return { origin, size, root: Buffer.from(root, "hex") };
}

/** `<mesh>/coordinator/<replica>/e<epoch>`: no node's log has as many parts. */
export function isOwnLog({ origin }: Pick<LogPlace, "origin">): boolean {
  return /^[^/]+\/coordinator\/[^/]+\/e[0-9]+$/.test(origin);
}

function* readable(place: LogPlace) {
  try {
    for (const entries of entriesFrom(place, { from: 0, size: sizeOf(place) })) yield* entries;
  } catch {
    // The walk over the log says what is wrong with it.
  }
}
