// What the records of one log must say of one another. Hashes cannot show it: whoever holds the
// log's key can sign a tree of records that contradict each other.

import type { AuditRecord, SealedRecord, SettleRecord } from "./record.ts";

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
  | "settle_duplicate"
  | "settle_undecided";

/** Told of a finding. */
export type Find = (code: LintCode, detail: string) => void;

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

/**
 * How much further back a step of the clock may lead than it says, ms: whoever writes it down may have been held
 * up since it looked last. Who was for longer says how far it leads.
 */
export const STEP_SLACK_MS = 60_000;
/** A request of an earlier log may have been given its id so long after this one was begun, ms. */
const BEGIN_SLACK_MS = 10_000;

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
  /** False once records are known to be missing: what is not here may have been among them. */
  #hasAll = true;

  constructor(origin: string, limits: LintLimits = LINT_LIMITS) {
    this.#origin = origin;
    this.#limits = limits;
    this.#recent = new RecentIds(limits.requestIdsMax);
  }

  /** False once ids were forgotten: a replay of something older would not have been seen. */
  get sawAllIds(): boolean {
    return this.#recent.complete;
  }

  /**
   * The next record; the first one must be at index 0.
   *
   * @param find Told of what is wrong, once for each thing.
   */
  look(record: SealedRecord, find: Find): void {
    const index = this.#index++;
    this.#first ??= record;
    this.#lookAtPlace(record, index, find);
    this.#lookAtTime(record, find);
    this.#lookAtIds(record, find);
    this.#closed ||= record.k === "close";
    if (record.k === "gap" || isDisowning(record)) this.#hasAll = false;
  }

  /** A leaf that could not be read: it has an index all the same. */
  skip(): void {
    this.#index++;
    this.#hasAll = false;
  }

  #lookAtPlace(record: SealedRecord, index: number, find: Find): void {
    const first = this.#first as SealedRecord;
    if (record.seq !== index) find("seq_not_index", `seq ${record.seq}`);
    if (record.ep !== first.ep) find("epoch_changed", `epoch ${record.ep}`);
    if (record.node !== first.node) find("node_changed", record.node);
    if (index === 0 && record.k !== "genesis") find("genesis_missing", record.k);
    if (index > 0 && record.k === "genesis") find("genesis_again", record.origin);
    if (record.k === "genesis" && record.origin !== this.#origin) {
      find("genesis_origin", record.origin);
    }
    if (this.#closed) find("leaf_after_close", record.k);
  }

  #lookAtTime(record: SealedRecord, find: Find): void {
    if (record.k === "clock") {
      // The step is on record, so time starts again from here; but it is no more than it says.
      const leastMs = this.#latestMs + Math.min(0, record.step_ms) - STEP_SLACK_MS;
      if (record.t < leastMs) {
        const backMs = this.#latestMs - record.t;
        find("time_went_back", `${backMs} ms, by a step of ${record.step_ms} ms`);
      }
      if (record.step_ms < 0) this.#latestBeforeStepMs = this.#latestMs;
      this.#latestMs = record.t;
      return;
    }
    const { backstepMsMax } = this.#limits;
    if (record.t < this.#latestMs - backstepMsMax) {
      find("time_went_back", `${this.#latestMs - record.t} ms`);
    }
    // Another writer's record may carry the old time yet: it must not be what later ones are held
    // to.
    const isOldTime =
      this.#latestMs < this.#latestBeforeStepMs - backstepMsMax &&
      Math.abs(record.t - this.#latestBeforeStepMs) <= backstepMsMax;
    if (!isOldTime) this.#latestMs = Math.max(this.#latestMs, record.t);
  }

  #lookAtIds(record: AuditRecord, find: Find): void {
    if (record.k === "decision" && record.ph === "request") {
      if (!this.#recent.add(record.rid, DECIDED)) find("rid_duplicate", record.rid);
    } else if (record.k === "settle") {
      if (this.#isUndecided(record)) find("settle_undecided", record.rid);
      if (!this.#recent.add(record.rid, SETTLED)) find("settle_duplicate", record.rid);
    }
  }

  /** A request that was settled and never allowed: the record of its decision was here, and is not. */
  #isUndecided({ rid, t }: SettleRecord): boolean {
    if (!this.#hasAll || !this.sawAllIds || this.#recent.has(rid, DECIDED)) return false;
    const askedMs = timeOfId(rid);
    // What was decided in the log before is settled in this one.
    const isOfThisLog = askedMs > (this.#first as SealedRecord).t + BEGIN_SLACK_MS;
    return isOfThisLog && askedMs <= t;
  }
}

/** Such a log begins with what WALs have of the one before, which may be a settlement and not its decision. */
function isDisowning(record: AuditRecord): boolean {
  return record.k === "genesis" && record.rc === "disowned";
}

/** What was seen under an id: one bit each. */
const DECIDED = 1;
const SETTLED = 2;

/** The last ids seen, between half of `countMax` and all of it, and what was seen under each. */
class RecentIds {
  readonly #halfMax: number;
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  complete = true;

  constructor(countMax: number) {
    this.#halfMax = Math.max(1, Math.floor(countMax / 2));
  }

  has(id: string, what: number): boolean {
    return (((this.#young.get(id) ?? 0) | (this.#old.get(id) ?? 0)) & what) !== 0;
  }

  /** False when the same was seen under that id before. */
  add(id: string, what: number): boolean {
    const isYoung = this.#young.has(id);
    const seen = (isYoung ? this.#young : this.#old).get(id) ?? 0;
    if ((seen & what) !== 0) return false;
    if (!isYoung && this.#young.size === this.#halfMax) {
      if (this.#old.size > 0) this.complete = false;
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(id, seen | what);
    return true;
  }
}

/** When a UUIDv7 was made, ms since the Unix epoch. */
function timeOfId(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}
