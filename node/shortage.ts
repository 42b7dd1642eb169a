import type { Cost, Facts } from "./decision/facts.ts";
import type { Verdict } from "./decision/verdict.ts";
import { type Asked, pricedRequest } from "./gather.ts";
import type { LoopContext } from "./loop-context.ts";
import type { TopUpRequest } from "./loop-control-link.ts";
import { affordableOutput, clampOutput } from "./pricing/output-limit.ts";
import { worstCase } from "./pricing/worst-case.ts";
import { overrunBalance } from "./table/lend.ts";

// What a request does whose row is short: what it asks its actor for, and what is left to it when
// the ledger has said no.

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

/** For the developer of a refused request: which output limit this node could have paid for. */
export function whatFits(
  asked: Asked,
  facts: Facts,
  left: Cost,
  loop: LoopContext,
): string | undefined {
  const request = pricedRequest(asked, loop, facts)?.request;
  if (request === undefined) return undefined;
  const tokens = affordableOutput(request, whatIsLeft(left, loop));
  return tokens === undefined
    ? "not even one output token fits"
    : `at most ${tokens} output tokens fit`;
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
