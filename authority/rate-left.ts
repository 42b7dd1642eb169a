import { type Bucket, RATE_METRICS, type Rate, type RateMetric } from "./rate.ts";

/**
 * What is left of a rate once others have had theirs; undefined when they have more than it.
 *
 * Rate is moved, not copied: the buckets of a contract and of all that were delegated from it add up
 * to no more than it was granted. Rounded so that what is given counts as at least what it is.
 */
export function rateLeft(whole: Rate, given: readonly Rate[]): Rate | undefined {
  const left = RATE_METRICS.map((metric) =>
    bucketLeft(
      whole[metric],
      given.map((each) => each[metric]),
    ),
  );
  const [req, tok, usd_u] = left;
  return req && tok && usd_u ? { req, tok, usd_u } : undefined;
}

/** The first metric in which `asked` is more than `left`, with what would have fitted. */
export function rateShortage(
  left: Rate,
  asked: Rate,
): { readonly metric: RateMetric; readonly asked: Bucket; readonly fits: Bucket } | undefined {
  for (const metric of RATE_METRICS) {
    const fits = bucketLeft(left[metric], [asked[metric]]);
    if (fits === undefined) return { metric, asked: asked[metric], fits: left[metric] };
  }
  return undefined;
}

function bucketLeft(whole: Bucket, given: readonly Bucket[]): Bucket | undefined {
  let burst = whole.burst;
  let amount = BigInt(whole.amount);
  const seconds = BigInt(whole.seconds);
  for (const each of given) {
    // A bucket that holds nothing takes nothing, whatever its other numbers say.
    if (each.burst === 0) continue;
    const part = BigInt(each.amount) * seconds;
    const per = BigInt(each.seconds);
    amount -= (part + per - 1n) / per;
    burst -= each.burst;
  }
  if (burst < 0 || amount < 0n) return undefined;
  return { burst, amount: Number(amount), seconds: whole.seconds };
}
