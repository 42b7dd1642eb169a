import { eachMetric, RATE_WHOLE, type RateParts } from "../mesh/rate-share.ts";
import { pause } from "../ports/pause.ts";
import { stageOf } from "../proto/reasons.ts";
import type { AtOnce } from "./at-once.ts";
import {
  type CommitResult,
  commit,
  commitLocal,
  type NotCommitted,
  type Reserved,
  undoRecord,
} from "./decision/commit.ts";
import { decide } from "./decision/decide.ts";
import type { RecordContext } from "./decision/decision-record.ts";
import { type Facts, isMissing } from "./decision/facts.ts";
import type { Permit, Upstream, UpstreamRequest } from "./decision/permit.ts";
import { lackingShares, METRIC_AT, rateReason } from "./decision/stages/13-rate.ts";
import type { Refusal, Verdict } from "./decision/verdict.ts";
import { type Asked, type Asker, factsNow } from "./gather.ts";
import type { LoopContext } from "./loop-context.ts";
import type { NoShare } from "./rate-need.ts";
import { noteUse, releaseUnsent } from "./release-unsent.ts";
import {
  askForMoney,
  lowerToWhatFits,
  topUpRequest,
  whatFits,
  whatFitsOverrun,
} from "./shortage.ts";
import type { RowGrant, TopUpAnswer } from "./thread-messages.ts";
import { upstreamRequest } from "./upstream-request.ts";

/** A refused verdict; `recorded` when the log already holds the record that ends it. */
export type RefusedVerdict = Verdict & { readonly recorded?: boolean };

/** Committed: what may go out, and what is held for it. */
export type HeldFor<T extends Upstream> = {
  readonly facts: Facts;
  readonly permit: Permit<T>;
  readonly reserved: Reserved;
  readonly wouldRefuse: Shadowed;
};

export type RefusedBy = { readonly facts: Facts; readonly refused: RefusedVerdict };

export type Held =
  | RefusedBy
  /** Nothing goes upstream: the node itself answers, and the record is written. */
  | { readonly facts: Facts; readonly local: true; readonly wouldRefuse: Shadowed }
  | HeldFor<UpstreamRequest>;

/** What stages in shadow objected to; recorded and not enforced. */
export type Shadowed = Verdict["wouldRefuse"];

export type StagedRefusal = Refusal & { readonly stage: number };

/**
 * A policy that moves, or a balance that runs short, starts the decision again this often at most.
 * What was lent to one request may be taken by another before it wakes, so one try is not enough.
 */
const ATTEMPTS_MAX = 8;
/** When to ask again for a share that nobody said anything about, milliseconds. */
const UNANSWERED_RETRY_MS = 1_000;
const NS_PER_MS = 1_000_000n;
/** How often a request that waits for the disk looks whether its record is there, ms. */
const SYNC_LOOK_MS = 1;

/**
 * Decides and commits; where the balance lent to this node is short, asks the actor and starts again
 * from `decide`, because everything may have changed while it waited.
 *
 * The final no to money is the ledger's alone. A request that was lent what it asked for and still
 * finds the row short, because others were quicker, asks again within its time; when that is over the
 * budget was unavailable, not exhausted.
 */
export function hold(asked: Asked, loop: LoopContext): AtOnce<Held> {
  const tried = attempt(asked, loop);
  return "again" in tried ? holdAfter(tried, asked, loop) : tried.held;
}

/** What stands between a request and its hold: a policy that has moved, or who is to be asked first. */
type NotYet = {
  readonly again: "moved" | "rate" | "more" | "money";
  readonly facts: Facts;
  readonly verdict: Verdict;
  /** Parts of a rate that its row lacks. */
  readonly needs?: RateParts;
  /** More of a rate that it has, but too little of; and what stands if there is none. */
  readonly more?: { readonly came: Promise<boolean>; readonly otherwise: Held };
};

/** One decision and its commit, between which nothing is waited for. */
function attempt(asked: Asked, loop: LoopContext): { readonly held: AtOnce<Held> } | NotYet {
  const facts = factsNow(asked, loop, "full");
  const verdict = decide(facts);
  if (verdict.refusal !== undefined) return { held: { facts, refused: verdict } };
  const needs = lackingShares(facts);
  if (needs !== undefined) return { again: "rate", facts, verdict, needs };
  const result = commitOnce(asked, facts, verdict, loop);
  noteHeld(asked, facts, verdict, result, loop);
  if ("permit" in result) return { held: onRecord(asked, facts, verdict, result, loop) };
  if ("local" in result) {
    return { held: { facts, wouldRefuse: verdict.wouldRefuse, local: true } };
  }
  if ("refusal" in result) {
    const otherwise = refused(facts, verdict, result.refusal, result.recorded);
    const came = moreRate(asked, facts, result, loop);
    if (came === undefined) return { held: otherwise };
    return { again: "more", facts, verdict, more: { came, otherwise } };
  }
  return { again: "moved" in result ? "moved" : "money", facts, verdict };
}

async function holdAfter(first: NotYet, asked: Asked, loop: LoopContext): Promise<Held> {
  const sinceNs = loop.clock.monoNs();
  let hasMoved = false;
  let hasMore = false;
  let tried = first;
  for (let no = 0; no < ATTEMPTS_MAX; no++) {
    const { again, facts, verdict, needs, more } = tried;
    if (more !== undefined) {
      if (hasMore || !(await more.came)) return more.otherwise;
      hasMore = true;
    } else if (needs !== undefined) {
      const wait = await rateWait(asked, facts, needs, loop);
      if (wait !== undefined) return refused(facts, verdict, wait, false);
    } else if (again === "moved") {
      if (hasMoved) return refused(facts, verdict, atBudget("policy_changed"), false);
      hasMoved = true;
    } else {
      if (no > 0 && waitedTooLong(facts, sinceNs, loop)) break;
      const answer = await askForMoney(topUpRequest(asked, facts, verdict, loop), loop);
      const final = finalShortage(asked, facts, answer, loop);
      if (final !== undefined) return refused(facts, verdict, final, false);
    }
    if (no + 1 === ATTEMPTS_MAX) break;
    const next = attempt(asked, loop);
    if (!("again" in next)) return next.held;
    tried = next;
  }
  const facts = factsNow(asked, loop, "full");
  const verdict = decide(facts);
  if (verdict.refusal !== undefined) return { facts, refused: verdict };
  return refused(facts, verdict, atBudget("budget_unavailable"), false);
}

/** What was taken of the shares that the row was lent tells what it needs of them. */
export function noteHeld(
  { row }: Asked<Asker>,
  { rateShares: shares }: Facts,
  { charges }: Verdict,
  result: object,
  { table }: LoopContext,
): void {
  if (shares === undefined || row === undefined) return;
  if ("permit" in result || "local" in result) {
    noteUse(table, row.row, charges.buckets, { shares, sign: 1 });
  }
}

/**
 * Has shares of the agent's rate brought to its row, which has less of it than this request needs.
 *
 * @returns Undefined: they are there, and everything is to be looked at anew. Otherwise all of it is in
 *   use by others or on other nodes, or nobody lends.
 */
export async function rateWait(
  { row }: Asked<Asker>,
  facts: Facts,
  needs: RateParts,
  loop: LoopContext,
): Promise<StagedRefusal | undefined> {
  if (row === undefined) throw new Error("invariant broken: a request with a rate has a row");
  const { row: no, generation, agentId, contractId } = row;
  const none = await loop.controlLink.needRate({ row: no, generation, agentId, contractId, needs });
  return none === undefined ? undefined : noShare(facts, none);
}

/**
 * A bucket has run dry of which the row has only a part. How the parts lie is no reason to refuse before the others were
 * asked what they use of theirs.
 *
 * @returns Undefined: they were asked just now, or there is no more of it.
 */
export function moreRate(
  { row }: Asked<Asker>,
  { rateShares: shares }: Facts,
  { dry }: Extract<NotCommitted, { refusal: unknown }>,
  { controlLink }: LoopContext,
): Promise<boolean> | undefined {
  if (dry === undefined || row === undefined || shares === undefined) return undefined;
  const ran = METRIC_AT[dry];
  if (shares[ran] === RATE_WHOLE) return undefined;
  const needs = eachMetric((at) => (at === ran ? 1 : 0));
  const { row: no, generation, agentId, contractId } = row;
  return controlLink.moreRate({ row: no, generation, agentId, contractId, needs });
}

/** All of the rate is in use, by its team or on other nodes; or nobody lends. */
export function noShare(facts: Facts, none: NoShare): StagedRefusal {
  if (none === "unanswered") {
    const reason = "rate_unavailable";
    return { reason, stage: stageOf(reason), retryAfterMs: UNANSWERED_RETRY_MS };
  }
  const { retryMs: retryAfterMs } = none;
  const needs = lackingShares(facts);
  const lacking = facts.grant?.rate.find(({ metric }) => {
    const at = METRIC_AT[metric];
    return (facts.rateShares?.[at] ?? 0) < (needs?.[at] ?? 0);
  });
  const reason = rateReason(lacking?.metric ?? "requests");
  const detail = "too little of its rate, or of its team's, is free for it here now";
  return { reason, stage: stageOf(reason), detail, retryAfterMs };
}

/**
 * Waits for the record to be on the disk, where policy asks for that. A record that does not get there
 * in time is undone and the request refused. What else changes while it waits voids the permit, which
 * looks at the cells once more where it is consumed.
 */
export function onRecord<T extends Upstream>(
  asked: Asked<Asker>,
  facts: Facts,
  verdict: Verdict,
  { permit, reserved }: { readonly permit: Permit<T>; readonly reserved: Reserved },
  loop: LoopContext,
): AtOnce<HeldFor<T> | RefusedBy> {
  const { row } = asked;
  const held = { facts, permit, reserved, wouldRefuse: verdict.wouldRefuse };
  if (facts.grant?.auditStrict !== true || row === undefined) return held;
  return onceSynced(asked, row, verdict, held, loop);
}

async function onceSynced<T extends Upstream>(
  asked: Asked<Asker>,
  row: RowGrant,
  verdict: Verdict,
  held: HeldFor<T>,
  loop: LoopContext,
): Promise<HeldFor<T> | RefusedBy> {
  const { facts, permit } = held;
  const isWritten = permit.mayConnect();
  const appendedNs = loop.clock.monoNs();
  // Past the bound on what may be unsynced, the log itself says no.
  while (!isWritten || !loop.log.isSynced(appendedNs)) {
    if (!isWritten || !loop.log.canAllow(loop.clock.monoNs())) {
      permit.revoke();
      releaseUnsent(loop, row.row, held);
      undoRecord(facts, "audit_unavailable", recordContext(asked, loop), loop.log);
      return refused(facts, verdict, { reason: "audit_unavailable", stage: 14 }, true);
    }
    await pause(loop.clock, SYNC_LOOK_MS);
  }
  return held;
}

function waitedTooLong(facts: Facts, sinceNs: bigint, loop: LoopContext): boolean {
  const waitMaxMs = facts.policy?.limits.reserveWaitMaxMs ?? 0;
  return loop.clock.monoNs() - sinceNs >= BigInt(waitMaxMs) * NS_PER_MS;
}

function commitOnce(
  asked: Asked,
  facts: Facts,
  verdict: Verdict,
  loop: LoopContext,
): CommitResult | { readonly local: true } {
  const { row, found } = asked;
  if (row === undefined || isMissing(found)) return unreachable("an allowed request has a row");
  const context = recordContext(asked, loop);
  const deps = { table: loop.table, log: loop.log, nowNs: () => loop.clock.monoNs() };
  const base = { facts, verdict, row: row.row, context };
  const upstream = upstreamRequest(asked, facts);
  if (upstream !== undefined) return commit({ ...base, upstream }, deps);
  if (found.route.kind !== "generate") return commitLocal(base, deps);
  return { refusal: nowhereToGo(facts), recorded: false };
}

/** A stage in shadow lets pass what it objects to, but it cannot make up a model to send it to. */
function nowhereToGo({ model }: Facts): StagedRefusal {
  if (model !== undefined && isMissing(model)) {
    const { missing: reason, detail } = model;
    return { reason, stage: stageOf(reason), ...(detail !== undefined && { detail }) };
  }
  // The first policy came between the head and the body, so the body was not read.
  return { reason: "policy_missing", stage: stageOf("policy_missing") };
}

/** What every record of this request says beside its facts. */
export function recordContext(asked: Asked<Asker>, loop: LoopContext): RecordContext {
  const tookNs = loop.clock.monoNs() - asked.exchange.headAtNs;
  return {
    mesh: loop.mesh,
    node: loop.node,
    trustVersion: loop.trustVersion(),
    clientRequestId: asked.clientRequestId,
    nowMs: loop.clock.nowMs(),
    latencyUs: Number(tookNs / 1_000n),
  };
}

/** Undefined: there is reason to try again. */
function finalShortage(
  asked: Asked,
  facts: Facts,
  answer: TopUpAnswer,
  loop: LoopContext,
): StagedRefusal | undefined {
  const { left } = answer;
  switch (answer.outcome) {
    case "ok":
      return undefined;
    case "exhausted": {
      if (left === undefined) return atBudget("budget_exhausted");
      if (lowerToWhatFits(asked, facts, left, loop)) return undefined;
      const detail = whatFits(asked, facts, answer, loop);
      return { ...atBudget("budget_exhausted"), ...(detail !== undefined && { detail }) };
    }
    case "overrun_exhausted":
      return {
        ...atBudget("overrun_exhausted"),
        detail: whatFitsOverrun(facts, answer, loop),
      };
    // The agent has another row by now, which its next request will be given.
    case "row_gone":
    case "unavailable":
      return atBudget("budget_unavailable");
  }
}

function atBudget(
  reason: "budget_exhausted" | "overrun_exhausted" | "budget_unavailable" | "policy_changed",
): StagedRefusal {
  return { reason, stage: stageOf(reason) };
}

/** What the chain let pass and could still not be had. */
export function refused(
  facts: Facts,
  verdict: Verdict,
  refusal: StagedRefusal,
  recorded: boolean,
): RefusedBy {
  const stages = `${verdict.stages.slice(0, refusal.stage - 1)}D`.padEnd(14, "-");
  return { facts, refused: { ...verdict, refusal, stages, recorded } };
}

function unreachable(invariant: string): never {
  throw new Error(`invariant broken: ${invariant}`);
}
