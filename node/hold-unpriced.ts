import type { RateParts } from "../mesh/rate-share.ts";
import { stageOf } from "../proto/reasons.ts";
import { commit, commitLocal } from "./decision/commit.ts";
import { decide } from "./decision/decide.ts";
import type { Facts } from "./decision/facts.ts";
import type { Upstream } from "./decision/permit.ts";
import { lackingShares } from "./decision/stages/13-rate.ts";
import type { Verdict } from "./decision/verdict.ts";
import { type Asked, type Asker, factsNow } from "./gather.ts";
import {
  type HeldFor,
  moreRate,
  noShare,
  noteHeld,
  onRecord,
  type RefusedVerdict,
  rateWait,
  recordContext,
  refused,
  type Shadowed,
  type StagedRefusal,
} from "./hold.ts";
import type { LoopContext } from "./loop-context.ts";

/** What became of something that has no price: a tunnel, plain HTTP. */
export type Unpriced<T extends Upstream> =
  | HeldFor<T>
  /** Nothing of it goes upstream. */
  | { readonly facts: Facts; readonly inspect: true; readonly wouldRefuse: Shadowed }
  | { readonly facts: Facts; readonly refused: RefusedVerdict };

/** Says under the facts of a decision what may go upstream, or why nothing may. */
type UpstreamOf<T extends Upstream> = (
  facts: Facts,
) => T | { readonly inspect: true } | StagedRefusal;

/** A share that ends between being lent and being used is asked for again so often. */
const SHARE_ATTEMPTS_MAX = 3;

/** Decides and commits what costs nothing; once more where the policy moved meanwhile. */
export async function holdUnpriced<T extends Upstream>(
  asked: Asked<Asker>,
  upstreamOf: UpstreamOf<T>,
  loop: LoopContext,
): Promise<Unpriced<T>> {
  let held = holdOnce(asked, upstreamOf, loop);
  for (let attempt = 0; attempt < SHARE_ATTEMPTS_MAX && "unlent" in held; attempt++) {
    const wait = await rateWait(asked, held.facts, held.unlent, loop);
    if (wait !== undefined) return refused(held.facts, held.verdict, wait, false);
    held = holdOnce(asked, upstreamOf, loop);
  }
  if ("moved" in held || (await held.more)) held = holdOnce(asked, upstreamOf, loop);
  const { facts, verdict } = held;
  if ("unlent" in held) return refused(facts, verdict, noShare(facts, "unanswered"), false);
  if ("moved" in held) {
    const refusal = { reason: "policy_changed", stage: stageOf("policy_changed") } as const;
    return refused(facts, verdict, refusal, false);
  }
  return "permit" in held ? onRecord(asked, facts, verdict, held, loop) : held;
}

type Once<T extends Upstream> = (
  | Unpriced<T>
  | { readonly facts: Facts; readonly moved: true }
  /** Its row was lent less of its rate than this. */
  | { readonly facts: Facts; readonly unlent: RateParts }
) & {
  readonly verdict: Verdict;
  /** With a refusal: whether more of the rate that ran dry has come. */
  readonly more?: Promise<boolean> | undefined;
};

function holdOnce<T extends Upstream>(
  asked: Asked<Asker>,
  upstreamOf: UpstreamOf<T>,
  loop: LoopContext,
): Once<T> {
  const { row } = asked;
  const facts = factsNow(asked, loop, "full");
  const verdict = decide(facts);
  if (verdict.refusal !== undefined) return { facts, verdict, refused: verdict };
  const unlent = lackingShares(facts);
  if (unlent !== undefined) return { facts, verdict, unlent };
  if (row === undefined) throw new Error("invariant broken: what is allowed has a row");
  const { wouldRefuse } = verdict;
  const upstream = upstreamOf(facts);
  if ("reason" in upstream) return { verdict, ...refused(facts, verdict, upstream, false) };
  const input = { facts, verdict, row: row.row, context: recordContext(asked, loop) };
  const deps = { table: loop.table, log: loop.log, nowNs: () => loop.clock.monoNs() };
  const result =
    "inspect" in upstream ? commitLocal(input, deps) : commit({ ...input, upstream }, deps);
  noteHeld(asked, facts, verdict, result, loop);
  if ("permit" in result) return { facts, verdict, wouldRefuse, ...result };
  if ("local" in result) return { facts, verdict, wouldRefuse, inspect: true };
  if ("moved" in result) return { facts, verdict, moved: true };
  if ("refusal" in result) {
    const more = moreRate(asked, facts, result, loop);
    return { verdict, more, ...refused(facts, verdict, result.refusal, result.recorded) };
  }
  throw new Error("invariant broken: what has no price costs nothing that could be short");
}
