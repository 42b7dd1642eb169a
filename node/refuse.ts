import { REASONS } from "../proto/reasons.ts";
import type { RefusalWords } from "./dataplane/dialects/dialect.ts";
import { refusalAnswer } from "./dataplane/refusal-answer.ts";
import { decisionHeaders } from "./dataplane/response-headers.ts";
import { stageName } from "./decision/chain.ts";
import { decisionRecord } from "./decision/decision-record.ts";
import { type Facts, isMissing, type Standing } from "./decision/facts.ts";
import type { Refusal } from "./decision/verdict.ts";
import type { Asked, Asker } from "./gather.ts";
import { type RefusedVerdict, recordContext } from "./hold.ts";
import { ladderCause } from "./ladder-cause.ts";
import type { LoopContext } from "./loop-context.ts";
import { noteStranger } from "./note-stranger.ts";

/**
 * Ends a request with a refusal: the record first, then the answer in the caller's own dialect.
 *
 * A refusal stands even when it cannot be recorded: nothing is let through by a log that is down.
 */
export function refuse(
  asked: Asked<Asker>,
  facts: Facts,
  verdict: RefusedVerdict,
  loop: LoopContext,
): void {
  const { refusal } = verdict;
  if (refusal === undefined) throw new Error("invariant broken: a refused verdict has a refusal");
  if (verdict.recorded !== true) record(asked, facts, verdict, loop);
  tell(asked, facts, refusal, loop);
  answer(asked, facts, refusal, loop);
}

/** The words of a refusal, for answers and for cut streams alike. */
export function refusalWords(
  requestId: string,
  refusal: Refusal,
  answersTo?: string | number,
): RefusalWords {
  const { reason, detail } = refusal;
  const { status, developer } = REASONS[reason];
  const message = detail === undefined ? developer : `${developer} (${detail})`;
  return { reason, message, requestId, status, ...(answersTo !== undefined && { answersTo }) };
}

function record(
  asked: Asked<Asker>,
  facts: Facts,
  verdict: RefusedVerdict,
  loop: LoopContext,
): void {
  try {
    loop.log.append(decisionRecord(facts, verdict, recordContext(asked, loop)));
  } catch (error) {
    loop.metrics.recordLost(error);
  }
}

function tell(
  asked: Asked<Asker>,
  facts: Facts,
  refusal: Refusal & { readonly stage: number },
  loop: LoopContext,
): void {
  const tookNs = loop.clock.monoNs() - asked.exchange.headAtNs;
  loop.metrics.decided({ stage: stageName(refusal.stage), reason: refusal.reason, tookNs });
  if (isMissing(asked.identity)) {
    noteStranger(asked, refusal.reason, loop);
    return;
  }
  loop.controlLink.event({
    agentId: asked.identity.agentId,
    requestId: facts.requestId,
    atMs: facts.nowMs,
    standing: facts.standing,
    allowed: false,
    stage: refusal.stage,
    reason: refusal.reason,
    cause: ladderCause(refusal.reason, facts, refusal.rule),
  });
}

function answer(
  asked: Asked<Asker>,
  facts: Facts,
  refusal: Refusal & { readonly stage: number },
  loop: LoopContext,
): void {
  const { exchange, found } = asked;
  const { requestId } = facts;
  const proof = loop.possession.headers(asked.row, refusal.reason);
  if (isMissing(found)) {
    const { reason, detail } = refusal;
    const told = refusalAnswer({ requestId, reason, ...(detail !== undefined && { detail }) });
    exchange.answer({ ...told, headers: [...told.headers, ...proof] });
    return;
  }
  const headers = decisionHeaders({
    requestId,
    refusal: { stage: stageName(refusal.stage), reason: refusal.reason },
    ...(asked.row !== undefined && { standing: standingShown(facts) }),
    ...(refusal.retryAfterMs !== undefined && { retryAfterMs: refusal.retryAfterMs }),
    ...(refusal.isFinal && { isFinal: true }),
  });
  const words = refusalWords(requestId, refusal, asked.read?.answersTo);
  const { contentType, body } = found.dialect.refusal(words);
  exchange.answer({
    status: found.dialect.refusalStatus?.(words) ?? words.status,
    headers: [...headers, ...proof, "content-type", contentType],
    body,
  });
}

/** `kill` is not a level of the ladder: it follows from the scope cells. */
function standingShown(facts: Facts): Standing {
  return facts.kill.killedBy === undefined ? facts.standing : "kill";
}
