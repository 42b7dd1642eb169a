import { type Bucket, isSlower, type Rate } from "../../../authority/rate.ts";
import { RATE_WHOLE, type RateParts, WHOLE_PARTS } from "../../../mesh/rate-share.ts";
import type { AgentRateLimit, RateLimit, RateMetric } from "../../../policy/compiled-policy.ts";
import { RATE_AT_THROTTLE } from "../../../policy/defaults.ts";
import { formatUsdMicros } from "../../../policy/money.ts";
import type { Reason } from "../../../proto/reasons.ts";
import type { Limited } from "../../table/reserve.ts";
import { type BucketCharge, stepNsOf } from "../bucket-charge.ts";
import { type Facts, isMissing } from "../facts.ts";
import type { Refusal, RowOutcome } from "../verdict.ts";

const PICOS_PER_MS = 1_000_000_000n;
const MS_PER_S = 1_000;
/** At throttle a bucket refills at a quarter of its rate. */
const THROTTLE_FACTOR = 4n;

const REASON_OF: Record<RateMetric, Reason> = {
  requests: "rate_requests",
  tokens: "rate_tokens",
  usd_micros: "rate_usd",
};

/** The reason for a bucket that has run dry. */
export function rateReason(metric: RateMetric): Reason {
  return REASON_OF[metric];
}

/**
 * Is it too fast? The buckets themselves are asked by `commit`, which consumes from them; here only
 * a request is refused that even a full bucket could not serve.
 */
export function checkRate(facts: Facts): RowOutcome {
  const connectionsMax = facts.policy?.limits.connectionsPerAgentMax ?? 0;
  if (facts.openConnections > connectionsMax) {
    return { reason: "too_many_connections", detail: `at most ${connectionsMax}` };
  }
  return beyond(lentLimits(facts), facts) ?? beyond(ownLimits(facts), facts) ?? "pass";
}

function beyond(limits: readonly PacedLimit[], facts: Facts): RowOutcome | undefined {
  for (const limit of limits) {
    const amount = amountOf(limit.metric, facts);
    if (limit.amount !== 0 && amount <= limit.burstAmount) continue;
    return objection(limit, amount);
  }
  return undefined;
}

function objection({ metric, amount: rate, burst }: RateLimit, amount: bigint): Refusal {
  const reason = rateReason(metric);
  if (rate === 0) return { reason, detail: "no rate is left" };
  const detail = `asked for ${of(metric, amount)}, more than the burst of ${of(metric, burst)}`;
  // No wait makes a bucket hold more than its burst.
  return { reason, detail, isFinal: true };
}

/** For the developer: what was asked of a bucket that has run dry, what it had, and when it has enough. */
export function limitedWords({ limited, asked, fits, retryAfterMs }: Limited): string {
  const wait = `all of it fits in ${retryAfterMs} ms`;
  if (limited === "requests") return wait;
  return `asked for ${of(limited, asked)}, ${of(limited, fits)} would have fitted; ${wait}`;
}

function of(metric: RateMetric, amount: bigint | number): string {
  if (metric === "usd_micros") return `${formatUsdMicros(Number(amount))} USD`;
  return `${amount} ${metric}`;
}

/** What the request takes from each bucket: of what was lent of policy's rate, and of its contract's own. */
export function bucketCharges(facts: Facts): readonly BucketCharge[] {
  const charges: BucketCharge[] = [];
  const isThrottled = facts.standing === "throttle";
  const shares = facts.rateShares ?? WHOLE_PARTS;
  for (const limit of lentLimits(facts)) {
    const amount = amountOf(limit.metric, facts);
    const share = shares[METRIC_AT[limit.metric]];
    // Nothing is charged to what is not there: the request asks for a share before it commits.
    if (amount === 0n || share === 0) continue;
    charges.push(chargeOf(limit, amount, isThrottled, share));
  }
  for (const limit of ownLimits(facts)) {
    const amount = amountOf(limit.metric, facts);
    if (amount > 0n) charges.push(chargeOf(limit, amount, isThrottled, RATE_WHOLE));
  }
  const hasRate = charges.some(({ metric }) => metric === "requests");
  // A quarter of no limit would be none: throttle would do nothing to whom policy gives no rate.
  if (isThrottled && !hasRate) charges.push(chargeOf(AT_THROTTLE, 1n, false, RATE_WHOLE));
  return charges;
}

/** Where each metric is told, of all that is told by metric. */
export const METRIC_AT = { requests: 0, tokens: 1, usd_micros: 2 } as const;

/**
 * Undefined: the row has the shares that this request needs. Otherwise what it needs. Of its own rate an
 * agent needs something; of a team's as much as the request takes at once, for in a team a debt of
 * each of its agents would be many at once.
 */
export function lackingShares(facts: Facts): RateParts | undefined {
  const { rateShares: shares } = facts;
  if (shares === undefined) return undefined;
  const needs: [number, number, number] = [0, 0, 0];
  let isLacking = false;
  for (const { metric, burst, shared } of lentLimits(facts)) {
    const amount = amountOf(metric, facts);
    const at = METRIC_AT[metric];
    if (amount === 0n) continue;
    needs[at] = shared ? Math.min(RATE_WHOLE, Math.ceil((RATE_WHOLE * Number(amount)) / burst)) : 1;
    if (shares[at] < needs[at]) isLacking = true;
  }
  return isLacking ? needs : undefined;
}

const BUCKET_OF: Record<RateMetric, keyof Rate> = {
  requests: "req",
  tokens: "tok",
  usd_micros: "usd_u",
};

/** A limit, and what follows from it alone. */
type PacedLimit = AgentRateLimit & {
  readonly burstAmount: bigint;
  /** What one unit takes to come back, nanoseconds times 1000, and what the whole burst does, nanoseconds. */
  readonly wholePicos: bigint;
  readonly burstNs: bigint;
  /** Of policy's rate, of which a part was lent to the row. */
  readonly lent: boolean;
  /** One unit of the whole of it, as every request takes of those: none is made for it. */
  readonly one?: BucketCharge;
};

/**
 * What is lent of policy's rate. Under a contract that is its team's alone: what policy gives the agent
 * itself bounds each contract of it by itself.
 */
function lentLimits({ grant, contract }: Facts): readonly PacedLimit[] {
  if (grant === undefined) return NO_LIMITS;
  const { all, shared } = lentOf(grant.rate);
  return contract === undefined ? all : shared;
}

const NO_LIMITS: readonly PacedLimit[] = [];
/** Worked out once for each of policy's grants. */
const LENT = new WeakMap<
  readonly AgentRateLimit[],
  { readonly all: readonly PacedLimit[]; readonly shared: readonly PacedLimit[] }
>();

function lentOf(granted: readonly AgentRateLimit[]) {
  const known = LENT.get(granted);
  if (known !== undefined) return known;
  const all = granted.map((limit) => paced(limit, true));
  const made = { all, shared: all.filter(({ shared }) => shared === true) };
  LENT.set(granted, made);
  return made;
}

/** Whether shares of policy's rate have to be lent to a row. */
export function isRateLent(granted: readonly AgentRateLimit[], isContract: boolean): boolean {
  const { all, shared } = lentOf(granted);
  return (isContract ? shared : all).length > 0;
}

/**
 * What the contract has left, met with policy's rate of the agent where that is no team's. A contract
 * bounds every metric.
 *
 * The same two rates meet in every request of a contract: what came of it last is kept with the
 * contract's, which only repeats what follows from both.
 */
function ownLimits({ grant, contract }: Facts): readonly PacedLimit[] {
  if (contract === undefined || isMissing(contract)) return NO_LIMITS;
  const granted = grant?.rate ?? NO_LIMITS;
  const known = MET.get(contract.rate);
  if (known?.granted === granted) return known.limits;
  const limits = (Object.keys(BUCKET_OF) as RateMetric[]).map((metric) => {
    const own = contract.rate[BUCKET_OF[metric]];
    const policy = granted.find((limit) => limit.metric === metric && limit.shared !== true);
    const met = policy === undefined ? limitOf(metric, own) : metLimit(policy, own);
    return paced(met, false);
  });
  MET.set(contract.rate, { granted, limits });
  return limits;
}

const MET = new WeakMap<
  Rate,
  { readonly granted: readonly RateLimit[]; readonly limits: readonly PacedLimit[] }
>();

function metLimit(policy: RateLimit, own: Bucket): RateLimit {
  const { metric, amount, windowMs } = policy;
  const contract = limitOf(metric, own);
  // Both in amounts a millisecond: the comparison is of fractions, whatever they are counted in.
  const isPolicySlower = isSlower(
    { burst: 0, amount, seconds: windowMs },
    { burst: 0, amount: contract.amount, seconds: contract.windowMs },
  );
  const slower = isPolicySlower ? policy : contract;
  return { ...slower, burst: Math.min(policy.burst, own.burst) };
}

function limitOf(metric: RateMetric, { burst, amount, seconds }: Bucket): RateLimit {
  return { metric, amount, windowMs: seconds * MS_PER_S, burst };
}

function chargeOf(
  limit: PacedLimit,
  amount: bigint,
  isThrottled: boolean,
  share: number,
): BucketCharge {
  const { metric, wholePicos, burstNs, lent, one } = limit;
  if (one !== undefined && amount === 1n && !isThrottled && share === RATE_WHOLE) return one;
  const slowedPicos = isThrottled ? wholePicos * THROTTLE_FACTOR : wholePicos;
  const unitPicos = share === RATE_WHOLE ? slowedPicos : partOf(slowedPicos, share);
  const stepNs = stepNsOf(amount, unitPicos);
  // A request that is larger than this share of the burst, or than its quarter at throttle, still fits
  // an idle bucket, which then takes its time: a small share slows an agent down, it does not shut it out.
  const toleranceNs = stepNs > burstNs ? stepNs : burstNs;
  if (lent) return { metric, amount, unitPicos, stepNs, toleranceNs, lent };
  return { metric, amount, unitPicos, stepNs, toleranceNs };
}

/** Rounded up: a share is never more than its part. The burst's time is the same for every share. */
function partOf(unitPicos: bigint, share: number): bigint {
  const parts = BigInt(share);
  return (unitPicos * BigInt(RATE_WHOLE) + parts - 1n) / parts;
}

function paced(limit: AgentRateLimit, lent: boolean): PacedLimit {
  const burstAmount = BigInt(limit.burst);
  const amount = BigInt(limit.amount);
  // Nothing comes back of no rate: it is refused before anything is charged to it.
  if (amount === 0n) return { ...limit, lent, burstAmount, wholePicos: 0n, burstNs: 0n };
  // Both rounded up: no rate is faster than policy says, and a charge of the whole burst fits a full bucket.
  const wholePicos = (BigInt(limit.windowMs) * PICOS_PER_MS + amount - 1n) / amount;
  const burstNs = stepNsOf(burstAmount, wholePicos);
  const whole = { ...limit, lent, burstAmount, wholePicos, burstNs };
  return { ...whole, one: chargeOf(whole, 1n, false, RATE_WHOLE) };
}

/** For whom policy gives no rate. */
const AT_THROTTLE = paced(RATE_AT_THROTTLE, false);

function amountOf(metric: RateMetric, facts: Facts): bigint {
  // A connection whose requests are judged one by one is none itself.
  if (metric === "requests") return facts.destination?.mode === "inspect" ? 0n : 1n;
  if (facts.cost === undefined || isMissing(facts.cost)) return 0n;
  return metric === "tokens" ? facts.cost.worst.tokens : facts.cost.worst.usdMicros;
}
