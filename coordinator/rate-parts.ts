import { RATE_WHOLE } from "../mesh/rate-share.ts";
import type { PoolPart } from "./policy-rates.ts";
import { NO_PARTS_OF_POOL, type Parts } from "./rate-pool.ts";

/** What a share of the agent's takes of what bounds it; rounded up, so that shares add up to no more. */
export function heldOf(share: number, { rate, burst }: PoolPart): Parts {
  if (share === 0) return NO_PARTS_OF_POOL;
  return { rate: roundUp(share * rate), burst: roundUp(share * burst) };
}

export function difference(one: Parts, other: Parts): Parts {
  return { rate: one.rate - other.rate, burst: one.burst - other.burst };
}

export function partsOf(share: number, { rate, burst }: PoolPart): number {
  return roundUp(share * Math.max(rate, burst));
}

export function shareOf(parts: number, { rate, burst }: PoolPart): number {
  return shareWithin(parts, Math.max(rate, burst));
}

/** A product of floats that should be whole may come out above it by their rounding. */
function roundUp(parts: number): number {
  return Math.ceil(parts - 1e-6);
}

/** The largest share whose parts, rounded up, are no more than these. */
export function shareWithin(parts: number, weight: number): number {
  return Math.min(RATE_WHOLE, Math.floor(parts / weight));
}
