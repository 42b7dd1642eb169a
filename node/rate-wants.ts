import { eachMetric, RATE_WHOLE, type RateLags, type RateParts } from "../mesh/rate-share.ts";

// What of a rate a row would use if it were there, as it tells the coordinator.

/** So much more than what was used is wanted: use is not even, and who needs more has it soon. */
const ROOM = 5 / 4;
/** Of an earlier want half is left after this time. */
const FADE_US = 500_000;
/** Whoever ran dry wants twice what it had, and this at least. */
const DRY_WANT_MIN = RATE_WHOLE / 16;

/** What is known of a row. */
type Known = {
  readonly shares: RateParts;
  readonly needs: RateParts;
  /** As it was told last. */
  readonly wants: RateParts;
};

/** All of what it lacks. */
export function lackingWants(held: RateParts, needs: RateParts): RateParts {
  return eachMetric((at) => (held[at] < needs[at] ? RATE_WHOLE : Math.max(held[at], needs[at])));
}

/** Of a row that ran dry of what is not 0. */
export function dryWants({ shares, wants }: Known, dry: RateParts): RateParts {
  return eachMetric((at) => {
    const want = Math.max(wants[at], 2 * shares[at], DRY_WANT_MIN);
    return dry[at] === 0 ? wants[at] : Math.min(RATE_WHOLE, want);
  });
}

/** What was used in a time, with room for more, and less and less of what was wanted before. */
export function wantsByUse(
  { shares, wants, needs }: Known,
  usedUs: RateLags,
  passedUs: number,
): RateParts {
  const left = 2 ** (-passedUs / FADE_US);
  return eachMetric((at) => {
    // Whoever had nothing shows no need of it by using nothing.
    if (shares[at] === 0) return wants[at];
    const used = partsUsed(ROOM * usedUs[at], passedUs);
    return Math.max(used, Math.floor(wants[at] * left), needs[at]);
  });
}

function partsUsed(usedUs: number, passedUs: number): number {
  return Math.min(RATE_WHOLE, Math.ceil((RATE_WHOLE * usedUs) / Math.max(1, passedUs)));
}
