import { NOTHING } from "./actors/account-book.ts";
import { type Cost, type Facts, isMissing } from "./decision/facts.ts";
import type { Verdict } from "./decision/verdict.ts";
import { type Asked, pricedRequest } from "./gather.ts";
import type { LoopContext } from "./loop-context.ts";
import type { TopUpRequest } from "./loop-control-link.ts";
import { affordableOutput, clampOutput } from "./pricing/output-limit.ts";
import { worstCase } from "./pricing/worst-case.ts";
import { endWords, shortWords } from "./shortage-words.ts";
import { overrunBalance } from "./table/lend.ts";
import type { TopUpAnswer } from "./thread-messages.ts";

// What a request does whose row is short: what it asks its actor for, and what is left to it when
// the ledger has said no.

/**
 * Asks the actor for what the row lacks, or says again what the ledger has said a moment ago.
 *
 * What is said again is final; everything else is to be decided anew.
 */
export async function askForMoney(request: TopUpRequest, loop: LoopContext): Promise<TopUpAnswer> {
  const again = loop.refusals.answerTo(request);
  if (again !== undefined) return again;
  const answer = await loop.controlLink.topUp(request);
  loop.refusals.note(request, answer);
  return answer;
}

/** The question to the actor. It names a floor while policy would still lower the output limit. */
export function topUpRequest(
  asked: Asked,
  facts: Facts,
  verdict: Verdict,
  loop: LoopContext,
): TopUpRequest {
  const { row } = asked;
  if (row === undefined) throw new Error("invariant broken: a request that is short has a row");
  const floor = floorOf(asked, facts, loop);
  return {
    row: row.row,
    generation: row.generation,
    agentId: row.agentId,
    contractId: row.contractId,
    need: verdict.charges.cost,
    ...(floor !== undefined && { floor }),
    overrunMicros: verdict.charges.overrunMicros,
  };
}

/**
 * Lowers the request's output limit to what `left` pays for, where its team opted in to that.
 *
 * @returns False: nothing was changed; the request is to be refused.
 */
export function lowerToWhatFits(
  asked: Asked,
  facts: Facts,
  left: Cost,
  loop: LoopContext,
): boolean {
  const priced = pricedRequest(asked, loop, facts);
  // Once: what was lent for the lowered limit and is gone again was not this request's to rely on.
  if (priced === undefined || facts.grant === undefined || asked.outputTokensMax !== undefined) {
    return false;
  }
  const tokens = clampOutput(priced.request, { left: whatIsLeft(left, loop), grant: facts.grant });
  if (tokens === undefined) return false;
  asked.outputTokensMax = tokens;
  return true;
}

/**
 * For the developer of a refused request: what was asked for, what would have fitted, which output limit
 * that is, and until when that is so.
 */
export function whatFits(
  asked: Asked,
  facts: Facts,
  { left, refusal }: TopUpAnswer,
  loop: LoopContext,
): string | undefined {
  const request = pricedRequest(asked, loop, facts)?.request;
  if (request === undefined || left === undefined) return undefined;
  const { cost } = worstCase(request);
  const tokens = affordableOutput(request, whatIsLeft(left, loop));
  const limit =
    tokens === undefined ? "not even one output token fits" : `at most ${tokens} output tokens fit`;
  return [shortWords(cost, left), limit, ...endWords(refusal?.shortfall)].join("; ");
}

/** The same where the mesh's account for bills above their holds is used up. */
export function whatFitsOverrun(facts: Facts, { refusal }: TopUpAnswer, loop: LoopContext): string {
  const { cost } = facts;
  const micros = cost === undefined || isMissing(cost) ? 0n : cost.overrunMicros;
  const more =
    refusal === undefined ? 0n : refusal.available.usdMicros + refusal.lendable.usdMicros;
  const asked = { ...NOTHING, usdMicros: micros };
  const left = { ...NOTHING, usdMicros: overrunBalance(loop.table) + more };
  return [shortWords(asked, left), ...endWords(refusal?.shortfall)].join("; ");
}

function floorOf(asked: Asked, facts: Facts, loop: LoopContext): Cost | undefined {
  const floorTokens = facts.grant?.clampFloorTokens;
  const request = pricedRequest(asked, loop, facts)?.request;
  if (floorTokens === undefined || request === undefined) return undefined;
  if (asked.outputTokensMax !== undefined || floorTokens >= request.maxOutputTokens) {
    return undefined;
  }
  return worstCase({ ...request, maxOutputTokens: floorTokens }).cost;
}

function whatIsLeft(cost: Cost, { table }: LoopContext) {
  return { cost, overrunMicros: overrunBalance(table) };
}
