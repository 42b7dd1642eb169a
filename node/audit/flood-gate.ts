/**
 * A thread's log that a flood of refusals cannot fill: what comes too often is counted instead of
 * written one by one.
 *
 * F1. Of each source at most so many refusals a second are written singly. A source is an agent, or
 *     everybody who is not known, taken together.
 * F2. Equal refusals beyond that become one `flood` record within a second, with their exact count,
 *     the first id and the last. So the sum over the log stays the number of decisions made.
 * F3. While the disk is short of room no refusal is written singly: what is left is for allows,
 *     kills and floods.
 * F4. What is counted and not yet written stands in a file of its own, so that the death of the
 *     process leaves a number and not a doubt.
 */

import type { AuditRecord, DecisionRecord, FloodRecord } from "../../audit/record.ts";
import type { Cancel, Clock } from "../../ports/clock.ts";
import type { FloodCountFile } from "./flood-count-file.ts";
import type { Wal } from "./wal-writer.ts";

/** Refusals of one source that a node writes singly in one second. */
export const SINGLE_REFUSALS_PER_SECOND_MAX = 100;
/** A flood is written at most so long after its first refusal was counted, ms. */
export const FLOOD_WINDOW_MS = 1_000;
/** Sources, and kinds of flood, that are told apart in one window; then the next one begins. */
export const FLOOD_KEYS_MAX = 65_536;

export type FloodGateOptions = {
  readonly wal: Wal;
  readonly clock: Clock;
  /** This thread's part of `SINGLE_REFUSALS_PER_SECOND_MAX`. */
  readonly singlesMax: number;
  /** True while the disk has little room left. */
  readonly isRoomShort: () => boolean;
  readonly pending: FloodCountFile;
  /** So many refusals were counted, and will be told by fewer records. */
  readonly onCounted: () => void;
  /**
   * A flood record could not be written; the writer counts what it stood for. Or at the end, what waited for the
   * disk could not.
   */
  readonly onFault: (error: unknown) => void;
};

type Flood = { readonly like: DecisionRecord; n: number; last: string; lastMs: number };

export class FloodGate implements Wal {
  readonly #options: FloodGateOptions;
  /** Refusals of each source in this window, by agent; the empty name is everybody unknown. */
  readonly #seen = new Map<string, number>();
  readonly #floods = new Map<string, Flood>();
  #windowEndsNs = 0n;
  #cancelTimer: Cancel | undefined;

  constructor(options: FloodGateOptions) {
    this.#options = options;
  }

  append(record: AuditRecord): void {
    if (isRefusal(record)) this.#refused(record);
    else this.#options.wal.append(record);
  }

  appendSoon(record: AuditRecord): void {
    this.#options.wal.appendSoon(record);
  }

  handOver(): void {
    this.#options.wal.handOver();
  }

  canAllow(nowNs: bigint): boolean {
    return this.#options.wal.canAllow(nowNs);
  }

  isSynced(sinceNs: bigint): boolean {
    return this.#options.wal.isSynced(sinceNs);
  }

  /** Never throws: a disk that takes nothing is no reason for its thread to end otherwise than in order. */
  close(): void {
    const { wal, pending, onFault } = this.#options;
    this.#endWindow();
    pending.close();
    try {
      wal.close();
    } catch (error) {
      onFault(error);
    }
  }

  #refused(record: DecisionRecord): void {
    const { wal, clock, singlesMax, isRoomShort } = this.#options;
    const isFull = this.#seen.size === FLOOD_KEYS_MAX || this.#floods.size === FLOOD_KEYS_MAX;
    if (clock.monoNs() >= this.#windowEndsNs || isFull) this.#endWindow();
    const source = record.ag ?? "";
    const seen = (this.#seen.get(source) ?? 0) + 1;
    this.#seen.set(source, seen);
    if (seen <= singlesMax && !isRoomShort()) wal.append(record);
    else this.#count(record);
  }

  #count(record: DecisionRecord): void {
    const key = `${record.ag ?? ""} ${record.st} ${record.rc} ${record.pol} ${record.tb}`;
    const flood = this.#floods.get(key);
    if (flood === undefined) {
      this.#floods.set(key, { like: record, n: 1, last: record.rid, lastMs: record.t });
    } else {
      flood.n++;
      flood.last = record.rid;
      flood.lastMs = record.t;
    }
    this.#options.pending.add(record.t);
    this.#options.onCounted();
    this.#cancelTimer ??= this.#options.clock.after(FLOOD_WINDOW_MS, () => this.#endWindow());
  }

  /** Writes what was counted, and begins anew. */
  #endWindow(): void {
    const { wal, clock, pending, onFault } = this.#options;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#windowEndsNs = clock.monoNs() + BigInt(FLOOD_WINDOW_MS) * 1_000_000n;
    this.#seen.clear();
    if (this.#floods.size === 0) return;
    for (const flood of this.#floods.values()) {
      try {
        wal.append(floodRecord(flood));
      } catch (error) {
        onFault(error);
      }
    }
    this.#floods.clear();
    pending.clear();
  }
}

/** Refusals of answers that had begun follow an allow, so nobody can send them in numbers. */
function isRefusal(record: AuditRecord): record is DecisionRecord {
  return record.k === "decision" && record.ph === "request" && record.dec === "deny";
}

function floodRecord({ like, n, last, lastMs }: Flood): FloodRecord {
  const { node, t, rid, st, rc, ag, pol, tb } = like;
  // The clock may have been set back between the first one and the last.
  const [t0, t1] = t <= lastMs ? [t, lastMs] : [lastMs, t];
  const one = { v: 1, k: "flood", t: t1, node, n, t0, first: rid, last, st, rc, pol, tb } as const;
  return ag === undefined ? one : { ...one, ag };
}
