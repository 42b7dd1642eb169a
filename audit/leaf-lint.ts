// What the records of one log must say of one another. Hashes cannot show it: whoever holds the
// log's key can sign a tree of records that contradict each other.

import type { AuditRecord, SealedRecord } from "./record.ts";

export type LintCode =
  | "seq_not_index"
  | "epoch_changed"
  | "node_changed"
  | "genesis_missing"
  | "genesis_again"
  | "genesis_origin"
  | "leaf_after_close"
  | "time_went_back"
  | "rid_duplicate"
  | "settle_duplicate";

export type LintFinding = { readonly code: LintCode; readonly detail: string };

export type LintLimits = {
  /**
   * How far a record's time may lie before the latest one, ms: writers' batches overlap by this.
   */
  readonly backstepMsMax: number;
  /** Request ids that are remembered to find a replayed one. */
  readonly requestIdsMax: number;
};

/**
 * A log's writers are synced at least once a second, so no record waits longer than that for its
 * place. A million ids are some 100 MB.
 */
export const LINT_LIMITS: LintLimits = { backstepMsMax: 1_000, requestIdsMax: 1_000_000 };

/** Looks at the records of one log in order. */
export class LeafLint {
  readonly #origin: string;
  readonly #limits: LintLimits;
  readonly #recent: RecentIds;
  #index = 0;
  #first: SealedRecord | undefined;
  #closed = false;
  #latestMs = 0;
  /** The latest time before the clock was last set back. */
  #latestBeforeStepMs = 0;

  constructor(origin: string, limits: LintLimits = LINT_LIMITS) {
    this.#origin = origin;
    this.#limits = limits;
    this.#recent = new RecentIds(limits.requestIdsMax);
  }

  /** False once ids were forgotten: a replay of something older would not have been seen. */
  get sawAllIds(): boolean {
    return this.#recent.complete;
  }

  /** The next record; the first one must be at index 0. */
  look(record: SealedRecord): LintFinding[] {
    const index = this.#index++;
    this.#first ??= record;
    const findings = [
      ...this.#lookAtPlace(record, index),
      ...this.#lookAtTime(record),
      ...this.#lookAtIds(record),
    ];
    this.#closed ||= record.k === "close";
    return findings;
  }

  /** A leaf that could not be read: it has an index all the same. */
  skip(): void {
    this.#index++;
  }

  *#lookAtPlace(record: SealedRecord, index: number): Generator<LintFinding> {
    const first = this.#first as SealedRecord;
    if (record.seq !== index) yield { code: "seq_not_index", detail: `seq ${record.seq}` };
    if (record.ep !== first.ep) yield { code: "epoch_changed", detail: `epoch ${record.ep}` };
    if (record.node !== first.node) yield { code: "node_changed", detail: record.node };
    if (index === 0 && record.k !== "genesis") yield { code: "genesis_missing", detail: record.k };
    if (index > 0 && record.k === "genesis") {
      yield { code: "genesis_again", detail: record.origin };
    }
    if (record.k === "genesis" && record.origin !== this.#origin) {
      yield { code: "genesis_origin", detail: record.origin };
    }
    if (this.#closed) yield { code: "leaf_after_close", detail: record.k };
  }

  *#lookAtTime(record: SealedRecord): Generator<LintFinding> {
    if (record.k === "clock") {
      // The step is on record, so time starts again from here.
      if (record.step_ms < 0) this.#latestBeforeStepMs = this.#latestMs;
      this.#latestMs = record.t;
      return;
    }
    const { backstepMsMax } = this.#limits;
    if (record.t < this.#latestMs - backstepMsMax) {
      yield { code: "time_went_back", detail: `${this.#latestMs - record.t} ms` };
    }
    // Another writer's record may carry the old time yet: it must not be what later ones are held
    // to.
    const isOldTime =
      this.#latestMs < this.#latestBeforeStepMs - backstepMsMax &&
      Math.abs(record.t - this.#latestBeforeStepMs) <= backstepMsMax;
    if (!isOldTime) this.#latestMs = Math.max(this.#latestMs, record.t);
  }

  *#lookAtIds(record: AuditRecord): Generator<LintFinding> {
    if (record.k === "decision" && record.ph === "request" && !this.#recent.add(record.rid)) {
      yield { code: "rid_duplicate", detail: record.rid };
    }
    if (record.k === "settle" && !this.#recent.add(`settle ${record.rid}`)) {
      yield { code: "settle_duplicate", detail: record.rid };
    }
  }
}

/** The last ids seen, between half of `countMax` and all of it. */
class RecentIds {
  readonly #halfMax: number;
  #young = new Set<string>();
  #old = new Set<string>();
  complete = true;

  constructor(countMax: number) {
    this.#halfMax = Math.max(1, Math.floor(countMax / 2));
  }

  /** False when the id was seen before. */
  add(id: string): boolean {
    if (this.#young.has(id) || this.#old.has(id)) return false;
    if (this.#young.size === this.#halfMax) {
      if (this.#old.size > 0) this.complete = false;
      this.#old = this.#young;
      this.#young = new Set();
    }
    this.#young.add(id);
    return true;
  }
}
