import type { AgentPolicy, ModelPolicy } from "../../policy/compiled-policy.ts";
import type { Cost } from "../decision/facts.ts";
import { type Request, worstCase } from "./worst-case.ts";

/**
 * The output limit of a request that names none and whose policy names none, tokens. Answers of
 * more are rare, and holding a model's whole maximum for each request would leave budgets mostly
 * held.
 */
export const OUTPUT_TOKENS_DEFAULT = 16_384;

export type OutputLimit = {
  /** The limit that goes upstream, tokens. */
  readonly tokens: number;
  /** False: it is the request's own. */
  readonly set: boolean;
};

/** The output limit that a request is held for: its own, or one that is filled in. */
export function outputLimit(of: {
  readonly requested: number | undefined;
  readonly model: Pick<ModelPolicy, "maxOutputTokens">;
  readonly grant: Pick<AgentPolicy, "maxOutputTokensDefault">;
}): OutputLimit {
  // A request for more than the model writes is the provider's to refuse: lowering it in silence
  // would change what was asked for.
  if (of.requested !== undefined) return { tokens: of.requested, set: false };
  const standard = of.grant.maxOutputTokensDefault ?? OUTPUT_TOKENS_DEFAULT;
  return { tokens: Math.min(of.model.maxOutputTokens, standard), set: true };
}

/** What a request may still spend. */
export type Affordable = { readonly cost: Cost; readonly overrunMicros: bigint };

/**
 * The largest output limit, up to the request's own, whose worst case fits what is left: for the
 * answer to a refused request, and for lowering the limit where policy opted in.
 *
 * @returns `undefined` when not even an answer of one token fits.
 */
export function affordableOutput(request: Request, left: Affordable): number | undefined {
  const fits = (maxOutputTokens: number) =>
    isCovered(worstCase({ ...request, maxOutputTokens }), left);
  if (request.maxOutputTokens < 1 || !fits(1)) return undefined;
  // The worst case only grows with the limit, so halving finds the last that fits.
  let low = 1;
  let high = request.maxOutputTokens;
  while (low < high) {
    const middle = low + Math.ceil((high - low) / 2);
    if (fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * The lowered limit of a request that cannot be afforded as it is, where its policy opted in.
 *
 * @returns `undefined`: not opted in, or less than the floor is left; the request is refused.
 */
export function clampOutput(
  request: Request,
  of: {
    readonly left: Affordable;
    readonly grant: Pick<AgentPolicy, "clampFloorTokens">;
  },
): number | undefined {
  const floor = of.grant.clampFloorTokens;
  if (floor === undefined) return undefined;
  const tokens = affordableOutput(request, of.left);
  return tokens === undefined || tokens < floor ? undefined : tokens;
}

function isCovered(
  worst: { readonly cost: Cost; readonly overrunMicros: bigint },
  left: Affordable,
): boolean {
  return (
    worst.cost.usdMicros <= left.cost.usdMicros &&
    worst.cost.tokens <= left.cost.tokens &&
    worst.cost.calls <= left.cost.calls &&
    worst.overrunMicros <= left.overrunMicros
  );
}
