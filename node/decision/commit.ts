import type { AuditRecord } from "../../audit/record.ts";
import type { RateMetric } from "../../policy/compiled-policy.ts";
import { stageOf } from "../../proto/reasons.ts";
import { awaitKillReading } from "../table/kill-reading.ts";
import { type Reservation, release, reserve } from "../table/reserve.ts";
import { killedBy } from "../table/scope-cells.ts";
import { isFresh, policyVersion, type Table } from "../table/table.ts";
import { decisionRecord, type RecordContext, settleRecord } from "./decision-record.ts";
import type { Cost, Facts } from "./facts.ts";
import { mintPermit, type Permit, type Upstream, type UpstreamRequest } from "./permit.ts";
import { killReason } from "./stages/03-kill.ts";
import { limitedWords, rateReason } from "./stages/13-rate.ts";
import type { Charges, Refusal, Verdict } from "./verdict.ts";

/** The log of this loop, as far as a commit uses it. */
export type DecisionLog = {
  /** Hands the record to the kernel before it returns. Throws when it could not. */
  append(record: AuditRecord): void;
  /**
   * Takes the record, and hands it to the kernel with the next one that `append` is given, at the latest at the
   * end of this turn. For what nothing is done upon before `handOver`: a crash in between leaves the request without
   * it, as one a little earlier would have. Throws when it cannot be written down.
   */
  appendSoon(record: AuditRecord): void;
  /** Hands all that was taken to the kernel before it returns. Throws when it could not. */
  handOver(): void;
  /** False while records may be unsynced for longer than the bound, or the last write failed. */
  canAllow(nowNs: bigint): boolean;
  /** Whether all that was appended before this instant is on the disk; monotonic nanoseconds. */
  isSynced(sinceNs: bigint): boolean;
};

export type CommitDeps = {
  readonly table: Table;
  readonly log: DecisionLog;
  readonly nowNs: () => bigint;
};

/** An allowed verdict and what it would send. */
export type CommitInput = {
  readonly facts: Facts;
  readonly verdict: Verdict;
  readonly row: number;
  readonly context: RecordContext;
};

/** What is held until the request is settled. */
export type Reserved = { readonly taken: Cost; readonly charges: Charges };

export type CommitResult<T extends Upstream = UpstreamRequest> =
  | { readonly permit: Permit<T>; readonly reserved: Reserved }
  | NotCommitted;

export type NotCommitted =
  /** Nothing is held; a record was written only if this one says so. */
  | {
      readonly refusal: Refusal & { readonly stage: number };
      readonly recorded: boolean;
      /** The rate whose bucket has run dry, where the row may be lent more of it. */
      readonly dry?: RateMetric;
    }
  /** The lent balance does not cover it: ask the actor, then start again from `decide`. */
  | { readonly short: "usd" | "tokens" | "calls" | "overrun" }
  /** The policy moved while this was decided, and nothing was recorded: start again from `decide`. */
  | { readonly moved: true };

/**
 * Makes an allowed verdict real: reserves money and rate, takes the record, looks at the kill once
 * more, and only then mints the permit. The kernel has the record before the permit is used: what is allowed in
 * one turn of the event loop is one write.
 *
 * Synchronous, so nothing of this loop runs in between; other threads may, which is why the cells are
 * read before the record and again last. A step that fails undoes the earlier ones in reverse; a
 * record that was written is undone by a settle record of nothing, and then the request ends: a
 * request has one record of its decision.
 */
export function commit<T extends Upstream>(
  input: CommitInput & { readonly upstream: T },
  deps: CommitDeps,
): CommitResult<T> {
  const { table, log, nowNs } = deps;
  const done = reserveAndRecord(input, deps, (record) => log.appendSoon(record));
  if (!("reserved" in done)) return done;
  const lastLook = () => mayWrite(table, input.row, nowNs);
  const permit = mintPermit(input.upstream, lastLook, () => isHandedOver(log));
  return { permit, reserved: done.reserved };
}

/** The same for a request that the node answers itself: nothing goes upstream, so no permit. */
export function commitLocal(
  input: CommitInput,
  deps: CommitDeps,
): NotCommitted | { readonly local: true } {
  const { log } = deps;
  const done = reserveAndRecord(input, deps, (record) => log.append(record));
  return "reserved" in done ? { local: true } : done;
}

function reserveAndRecord(
  input: CommitInput,
  deps: CommitDeps,
  write: (record: AuditRecord) => void,
): { readonly reserved: Reserved } | NotCommitted {
  const { facts, verdict, row } = input;
  const { table, log } = deps;
  const nowNs = deps.nowNs();
  const outcome = reserve(table, row, verdict.charges, nowNs);
  if (!("taken" in outcome)) return shortage(outcome);
  const reserved = { taken: outcome.taken, charges: verdict.charges };
  const early = lastObjection(input, table, nowNs);
  if (early !== undefined) {
    release(table, row, reserved);
    return early === "policy_changed" ? { moved: true } : refuse(early, 3, false);
  }
  if (!deps.log.canAllow(nowNs) || !append(input, write)) {
    release(table, row, reserved);
    return refuse("audit_unavailable", 14, false);
  }
  const late = lastObjection(input, table, deps.nowNs());
  if (late === undefined) return { reserved };
  release(table, row, reserved);
  undoRecord(facts, late, input.context, log);
  return refuse(late, stageOf(late), true);
}

function append({ facts, verdict, context }: CommitInput, write: (record: AuditRecord) => void) {
  try {
    write(decisionRecord(facts, verdict, context));
    return true;
  } catch {
    // What could not be written must not happen. The log itself reports its fault.
    return false;
  }
}

/** Whether the kernel has all that the log took. */
function isHandedOver(log: DecisionLog): boolean {
  try {
    log.handOver();
    return true;
  } catch {
    return false;
  }
}

function lastObjection(input: CommitInput, table: Table, nowNs: bigint) {
  const killed = killedBy(table, input.row);
  if (killed !== undefined) return killReason(killed);
  if (!isFresh(table, nowNs)) return "mesh_stale" as const;
  if (policyVersion(table) !== input.facts.policy?.version) return "policy_changed" as const;
  return undefined;
}

/** A kill that has come and is not read yet may be this agent's: it is waited for. */
function mayWrite(table: Table, row: number, nowNs: () => bigint): boolean {
  if (!awaitKillReading(table, nowNs)) return false;
  return killedBy(table, row) === undefined && isFresh(table, nowNs());
}

/**
 * Says of an allow on record that it did not happen: nothing was spent, and why. Where the allow waits for a disk that
 * takes nothing, this waits behind it: the one is never written without the other.
 */
export function undoRecord(
  facts: Facts,
  reason: string,
  context: RecordContext,
  log: DecisionLog,
): void {
  const spent = { usdMicros: 0n, tokens: 0n, calls: 0n };
  try {
    log.appendSoon(
      settleRecord(facts, { reason, spent, overrunMicros: 0n, inspection: undefined }, context),
    );
  } catch {
    // Without the record the hold counts as spent, which is the safe side; the log says it is down.
  }
}

function shortage(outcome: Exclude<Reservation, { taken: Cost }>): NotCommitted {
  if ("short" in outcome) return outcome;
  const { limited, retryAfterMs, lent } = outcome;
  const detail = limitedWords(outcome);
  const refusal = { reason: rateReason(limited), stage: 13, detail, retryAfterMs };
  return { refusal, recorded: false, ...(lent && { dry: limited }) };
}

function refuse(reason: Refusal["reason"], stage: number, recorded: boolean): NotCommitted {
  return { refusal: { reason, stage }, recorded };
}
