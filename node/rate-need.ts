import type { RateParts } from "../mesh/rate-share.ts";

/** What a request needs of its agent's rate, and its row has less of. */
export type RateNeed = {
  readonly row: number;
  readonly generation: number;
  readonly agentId: string;
  readonly contractId: string | undefined;
  /** Parts, by metric. */
  readonly needs: RateParts;
  /** It has what one request needs, but ran dry of what is not 0: as much more as others leave it. */
  readonly isMore?: boolean;
};

/**
 * Why a row has not what it needs of its agent's rate: others use it until then, or nobody
 * said anything about it in time. The agent was too fast in neither case.
 */
export type NoShare = { readonly retryMs: number } | "unanswered";
