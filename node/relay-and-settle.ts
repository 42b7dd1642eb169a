import { stageOf } from "../proto/reasons.ts";
import type { ShadowObjection } from "./answer-shadow.ts";
import type { Outcome as RelayOutcome } from "./dataplane/client-leg.ts";
import { stageName } from "./decision/chain.ts";
import type { Reserved } from "./decision/commit.ts";
import { cutRecord } from "./decision/decision-record.ts";
import { type Facts, isMissing } from "./decision/facts.ts";
import type { Permit } from "./decision/permit.ts";
import type { Asked, Asker } from "./gather.ts";
import { recordContext, type Shadowed } from "./hold.ts";
import type { LoopContext } from "./loop-context.ts";
import { allowedAs } from "./loop-metrics.ts";
import { brokenOff, openHold } from "./open-hold.ts";
import { RelayedAnswer } from "./relayed-answer.ts";
import { settleRequest } from "./settle-request.ts";

/** An allowed request: what may be sent, and what is held for it. */
export type Allowed = {
  readonly facts: Facts;
  readonly permit: Permit;
  readonly reserved: Reserved;
  /** What stages in shadow objected to in the request. */
  readonly wouldRefuse: Shadowed;
};

/**
 * Sends the request, relays its answer, and settles. Resolves when all of that is over.
 *
 * The relay says the client's last word whatever happens, and tells its outcome exactly once. For as long as
 * it goes on, what it was allowed by is judged again.
 */
export async function relayAndSettle(
  asked: Asked,
  allowed: Allowed,
  loop: LoopContext,
): Promise<void> {
  let relayed: RelayedAnswer;
  let outcome: RelayOutcome;
  let endJudging = (): void => {};
  const endHold = openHold(asked, allowed, loop);
  try {
    relayed = new RelayedAnswer(asked, allowed, loop);
    endJudging = loop.live.begin(relayed, allowed.facts, asked.row?.keyGeneration);
    asked.exchange.setHeld(allowed.reserved.taken);
    tellAllowed(asked, allowed, loop);
    outcome = await relay(relayed, allowed, loop);
    endJudging();
  } catch (error) {
    endJudging();
    // A bug of ours must not leave money held that nobody will ever give back.
    if (endHold()) settleRequest(asked, allowed, brokenOff(!allowed.permit.revoke()), loop);
    throw error;
  }
  // Settled in its place: what it says after that changes no account any more.
  if (!endHold()) return;
  const objection = relayed.shadow.objection(outcome.hits);
  if (objection !== undefined) tellShadow(asked, allowed.facts, objection, loop);
  const told = relayed.isWithdrawn ? { ...outcome, isWithdrawn: true as const } : outcome;
  settleRequest(asked, allowed, told, loop);
}

/** Tells how the relayed answer ended. Whatever goes wrong in its beginning rejects. */
function relay(relayed: RelayedAnswer, { permit, facts }: Allowed, loop: LoopContext) {
  return new Promise<RelayOutcome>((resolve) => {
    const sink = relayed.begin(resolve);
    const limits = facts.policy?.limits;
    if (limits === undefined) throw new Error("invariant broken: an allowed request has a policy");
    loop.forwarder.forward(permit, sink, {
      limits,
      refusedBecause: () => relayed.refusedBecause(),
    });
  });
}

/** Counts an allowed request, and tells the agent's actor of it. */
export function tellAllowed(
  asked: Asked<Asker>,
  { facts, wouldRefuse }: Pick<Allowed, "facts" | "wouldRefuse">,
  loop: LoopContext,
): void {
  loop.metrics.decided(allowedAs(wouldRefuse, loop.clock.monoNs() - asked.exchange.headAtNs));
  if (isMissing(asked.identity)) return;
  loop.controlLink.event({
    agentId: asked.identity.agentId,
    requestId: facts.requestId,
    atMs: facts.nowMs,
    standing: facts.standing,
    allowed: true,
    stage: 0,
    reason: "ok",
    cause: undefined,
  });
}

/** An objection of a stage in shadow to the answer: a second record, and nothing else. */
function tellShadow(
  asked: Asked,
  facts: Facts,
  { reason, rule }: ShadowObjection,
  loop: LoopContext,
): void {
  const stage = stageOf(reason);
  const tookNs = loop.clock.monoNs() - asked.exchange.headAtNs;
  loop.metrics.decided({ stage: stageName(stage), reason, tookNs, shadow: true });
  const context = recordContext(asked, loop);
  try {
    loop.log.append(cutRecord(facts, { stage, reason, rule, shadow: true }, context));
  } catch (error) {
    loop.metrics.recordLost(error);
  }
}
