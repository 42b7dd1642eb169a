// The rates of agents and teams, lent in shares to the rows in which nodes serve agents.
//
// R1. The shares of one rate that rows may be using never add up to more than the whole. A share is
//     free again once its node has said that it refills by less, has given it back, or cannot be using
//     it any more by any clock within the drift that leases allow for.
// R2. How full buckets are moves with the share: what a row used before it gave a share up is missing
//     from it, and what nobody can say counts as used.
// R3. After another coordinator lent, nobody gets more than it says it has until all of that has ended.
// R4. A row of a team is lent what one request needs at least, or nothing: it never has to pass one that
//     is larger than what it has.
// R5. Who lacks some that others have beyond what is left to them waits for no renewal: they are asked to say
//     at once what they use.
//
// In memory alone: shares last for seconds, and their nodes say what they have.

import {
  FULL_BUCKETS,
  NO_PARTS,
  type PerMetric,
  RATE_WHOLE,
  type RateLags,
  type RateParts,
} from "../mesh/rate-share.ts";
import type { AgentRate, MetricRate, PoolPart } from "./policy-rates.ts";
import type { LentRow, RateAsk, RateEnv, RateLoan, RateShareSettings } from "./rate-loan.ts";
import { difference, heldOf, partsOf, shareOf, shareWithin } from "./rate-parts.ts";
import { RatePool } from "./rate-pool.ts";

/** What a row may be using of one metric. */
type Metric = {
  readonly rate: MetricRate;
  share: number;
  /** How far its bucket was from full when its node said so last, and what was added last; µs. */
  lagUs: number;
  addedLagUs: number;
};

type Row = {
  readonly key: string;
  readonly node: string;
  readonly bootId: string;
  rate: AgentRate;
  metrics: (Metric | undefined)[];
  toldMs: number;
  expiresMs: number;
};

const NOTHING_LENT = { shares: NO_PARTS, ttlMs: 0, addedLags: FULL_BUCKETS, recalls: [] } as const;
const US_PER_MS = 1_000;
/** Of a team, for whoever asks next. */
const TEAM_RESERVE = RATE_WHOLE / 16;
/** What a row of a team begins with, where others leave it. */
const FIRST_REQUESTS = 4;
/** A share that would lose less than this part of it stays as it is. */
const SLACK = 1 / 8;
/** Who lacks less than this part of what it may have does without. */
const LACK = 1 / 64;
/** A node that is asked to say what it uses has mostly made room by then. */
const RECALLED_RETRY_MS = 40;

export class RateShares {
  readonly #settings: RateShareSettings;
  readonly #pools = new Map<string, RatePool>();
  /** In the order in which they end. */
  readonly #rows = new Map<string, Row>();
  readonly #rowsOf = new Map<string, number>();
  #unknownUntilMs = Number.NEGATIVE_INFINITY;

  constructor(settings: RateShareSettings) {
    this.#settings = settings;
  }

  /** R3. What was lent until now was lent by another, or by a run that ended. */
  begin(nowMs: number): void {
    this.#pools.clear();
    this.#rows.clear();
    this.#rowsOf.clear();
    this.#unknownUntilMs = nowMs + this.#lastsMs();
  }

  /** Takes in what a node says of a row, and says what the row may have from now on. */
  ask(ask: RateAsk, env: RateEnv): RateLoan {
    const { nowMs } = env;
    for (const [key, row] of this.#rows) {
      if (nowMs < row.expiresMs) break;
      this.#end(key, row, { lags: undefined, nowMs });
    }
    const key = rowKey(ask);
    const before = this.#rows.get(key);
    if (before !== undefined && before.bootId !== ask.bootId) {
      this.#end(key, before, { lags: undefined, nowMs });
    }
    const row = this.#heard(key, ask, env);
    const isKnown = row !== undefined && (ask.release || this.#hasPools(env));
    if (!isKnown) return { ...NOTHING_LENT, retryMs: this.#settings.ttlMs };
    if (!ask.release) return this.#offer(row, ask, env);
    this.#end(key, row, { lags: ask.lags, nowMs });
    return { ...NOTHING_LENT, retryMs: 0 };
  }

  /** For operators and tests: what rows may be using of an agent's rate, in parts of the whole. */
  lent(account: string, metric: 0 | 1 | 2 = 0): ReadonlyMap<string, number> {
    const lent = new Map<string, number>();
    for (const [key, { metrics }] of this.#rows) {
      const [node = "", of] = key.split(" ");
      if (of === account) lent.set(node, (lent.get(node) ?? 0) + (metrics[metric]?.share ?? 0));
    }
    return lent;
  }

  /** R1, R2. What the node does not say it has it cannot be using: a row asks once at a time. */
  #heard(key: string, ask: RateAsk, env: RateEnv): Row | undefined {
    const { nowMs } = env;
    const row = this.#rows.get(key) ?? this.#newRow(key, ask, env);
    if (row === undefined) return undefined;
    if (row.rate !== env.rate) this.#move(row, ask, env);
    for (const [at, metric] of row.metrics.entries()) {
      if (metric === undefined) continue;
      const held = Math.min(ask.held[at] ?? 0, metric.share);
      const lagUs = ask.lags[at] ?? 0;
      if (held < metric.share) {
        // Nobody refilled it since: by now it is at most as empty as what the row has, as what it said it
        // had, or as what was offered to it and may never have arrived.
        const sinceUs = (nowMs - row.toldMs) * US_PER_MS;
        const before = Math.max(0, Math.max(metric.lagUs, metric.addedLagUs) - sinceUs);
        this.#giveBack(row, metric, { to: held, lagUs: Math.max(lagUs, before), nowMs });
      }
      metric.lagUs = lagUs;
    }
    return row;
  }

  #newRow(key: string, ask: RateAsk, env: RateEnv): Row | undefined {
    const { nowMs, rate } = env;
    const { rowsMax, rowsOfNodeMax } = this.#settings;
    const ofNode = this.#rowsOf.get(ask.node) ?? 0;
    if (this.#rows.size >= rowsMax || ofNode >= rowsOfNodeMax) return undefined;
    if (!this.#hasPools(env)) return undefined;
    const expiresMs = nowMs + this.#lastsMs();
    const row = {
      key,
      node: ask.node,
      bootId: ask.bootId,
      rate,
      metrics: metricsOf(rate),
      toldMs: nowMs,
      expiresMs,
    };
    // R3. What it has of another's lending is taken out of what there is.
    if (nowMs < this.#unknownUntilMs) this.#keep(row, ask.held, env);
    this.#rows.set(key, row);
    this.#rowsOf.set(ask.node, ofNode + 1);
    return row;
  }

  /** Policy has changed what bounds the agent: as much of its share as there is under the new bounds. */
  #move(row: Row, ask: RateAsk, env: RateEnv): void {
    const held = row.metrics.map((metric) => metric?.share ?? 0) as unknown as PerMetric;
    this.#giveAllBack(row, { lags: ask.lags, nowMs: env.nowMs });
    row.rate = env.rate;
    row.metrics = metricsOf(env.rate);
    if (this.#hasPools(env)) this.#keep(row, held, env);
  }

  #keep(row: Row, held: RateParts, { nowMs }: RateEnv): void {
    for (const [at, metric] of row.metrics.entries()) {
      if (metric === undefined) continue;
      const share = Math.min(held[at] ?? 0, this.#availableTo(metric));
      if (share === 0) continue;
      const when = { atMs: nowMs, untilMs: nowMs + this.#settings.ttlMs };
      for (const part of metric.rate.pools) {
        this.#pool(part).claim(row.key, { min: 1, want: partsOf(share, part) }, when);
      }
      this.#take(row, metric, share, nowMs);
    }
  }

  #offer(row: Row, ask: RateAsk, env: RateEnv): RateLoan {
    const { nowMs } = env;
    const { ttlMs } = this.#settings;
    const mayGrow = nowMs >= this.#unknownUntilMs || env.isAlone;
    row.toldMs = nowMs;
    row.expiresMs = nowMs + this.#lastsMs();
    this.#rows.delete(row.key);
    this.#rows.set(row.key, row);
    let retryMs = 0;
    const recalled = new Set<string>();
    const shares: number[] = [];
    const addedLags: number[] = [];
    for (const [at, metric] of row.metrics.entries()) {
      const need = Math.max(1, ask.needs[at] ?? 1);
      const want = Math.max(need, ask.wants[at] || firstWant(metric, need));
      const share =
        metric === undefined
          ? RATE_WHOLE
          : this.#offerOf(row, metric, { need, want, mayGrow, nowMs });
      shares.push(share);
      addedLags.push(metric?.addedLagUs ?? 0);
      if (metric === undefined) continue;
      const isRecalled = this.#recall(row, metric, recalled, nowMs);
      const isShort = share < (metric.rate.isShared ? need : 1);
      if (isRecalled) retryMs = Math.max(retryMs, RECALLED_RETRY_MS);
      else if (isShort) retryMs = Math.max(retryMs, this.#retryMs(row, metric, nowMs));
    }
    const lent = { shares, addedLags } as unknown as Pick<RateLoan, "shares" | "addedLags">;
    return { ...lent, ttlMs, retryMs, recalls: [...recalled].map(lentRow) };
  }

  #offerOf(
    row: Row,
    metric: Metric,
    of: {
      readonly need: number;
      readonly want: number;
      readonly mayGrow: boolean;
      readonly nowMs: number;
    },
  ): number {
    const { need, want, mayGrow, nowMs } = of;
    const when = { atMs: nowMs, untilMs: nowMs + this.#settings.ttlMs };
    let target = RATE_WHOLE;
    for (const part of metric.rate.pools) {
      const pool = this.#pool(part);
      const min = metric.rate.isShared ? partsOf(need, part) : 1;
      pool.claim(row.key, { min, want: Math.max(min, partsOf(want, part)) }, when);
      target = Math.min(target, shareOf(Math.ceil(pool.fairFor(row.key, nowMs)), part));
    }
    const before = metric.share;
    const most = mayGrow ? before + this.#availableTo(metric) : before;
    // R4. Told to give all of it up, it asks again when it needs some.
    const isSlack = target < before && target >= before * (1 - SLACK);
    const wanted = isSlack && !this.#isWanted(row, metric) ? before : target;
    const share = Math.min(wanted, most);
    const least = metric.rate.isShared ? need : 1;
    metric.addedLagUs = 0;
    if (share > before && share >= least) this.#take(row, metric, share - before, nowMs);
    const given = share > before && share < least ? before : share;
    const lacks = mayGrow && target - given > target * LACK;
    for (const part of metric.rate.pools) this.#pool(part).noteLack(row.key, lacks);
    return given;
  }

  #isWanted({ key }: Row, { rate }: Metric): boolean {
    return rate.pools.some((part) => this.#pool(part).isWanted(key));
  }

  /** R5. Whether others have been asked, and room is to be expected. */
  #recall({ key }: Row, { rate }: Metric, recalled: Set<string>, nowMs: number): boolean {
    let isRecalled = false;
    for (const part of rate.pools) {
      if (this.#pool(part).recall(key, recalled, nowMs)) isRecalled = true;
    }
    return isRecalled;
  }

  /** Shares beyond what the row has that are free in all of what bounds it. */
  #availableTo(metric: Metric): number {
    let most = RATE_WHOLE - metric.share;
    for (const part of metric.rate.pools) {
      const { free } = this.#pool(part);
      const own = heldOf(metric.share, part);
      most = Math.min(most, shareWithin(own.rate + free.rate, part.rate) - metric.share);
      most = Math.min(most, shareWithin(own.burst + free.burst, part.burst) - metric.share);
    }
    return Math.max(0, most);
  }

  #take(row: Row, metric: Metric, added: number, nowMs: number): void {
    const { rate } = metric;
    let lagUs = 0;
    for (const part of rate.pools) {
      const moved = difference(heldOf(metric.share + added, part), heldOf(metric.share, part));
      const level = this.#pool(part).take(row.key, moved, nowMs);
      const fullness = Math.min(1, level / (added * part.burst || 1));
      lagUs = Math.max(lagUs, Math.ceil((1 - fullness) * rate.emptyUs));
    }
    metric.share += added;
    metric.addedLagUs = lagUs;
  }

  #giveBack(
    row: Row,
    metric: Metric,
    of: { readonly to: number; readonly lagUs: number; readonly nowMs: number },
  ): void {
    const { to, lagUs, nowMs } = of;
    // Below nothing by what one request took beyond what was lent: it is owed wherever the share goes.
    const fullness = Math.max(1 - RATE_WHOLE / metric.share, 1 - lagUs / metric.rate.emptyUs);
    for (const part of metric.rate.pools) {
      const back = difference(heldOf(metric.share, part), heldOf(to, part));
      const level = (metric.share - to) * part.burst * fullness;
      this.#pool(part).giveBack(row.key, { ...back, level }, nowMs);
    }
    metric.share = to;
  }

  /** @param of Without lags: what was left when it ended nobody can say, so nothing was. */
  #giveAllBack(
    row: Row,
    of: { readonly lags: RateLags | undefined; readonly nowMs: number },
  ): void {
    const { lags, nowMs } = of;
    for (const [at, metric] of row.metrics.entries()) {
      if (metric === undefined) continue;
      const sinceUs = Math.max(0, nowMs - row.expiresMs) * US_PER_MS;
      const lagUs = lags?.[at] ?? Math.max(0, metric.rate.emptyUs - sinceUs);
      if (metric.share > 0) this.#giveBack(row, metric, { to: 0, lagUs, nowMs });
      for (const { name } of metric.rate.pools) this.#pools.get(name)?.drop(row.key);
    }
  }

  #end(
    key: string,
    row: Row,
    of: { readonly lags: RateLags | undefined; readonly nowMs: number },
  ): void {
    this.#giveAllBack(row, of);
    this.#rows.delete(key);
    const left = (this.#rowsOf.get(row.node) ?? 1) - 1;
    if (left > 0) this.#rowsOf.set(row.node, left);
    else this.#rowsOf.delete(row.node);
  }

  #hasPools({ rate, nowMs, isAlone }: RateEnv): boolean {
    const isFull = nowMs >= this.#unknownUntilMs || isAlone;
    for (const { pools } of rate.filter((one) => one !== undefined)) {
      for (const { name, emptyUs, isTeam } of pools) {
        const emptyMs = emptyUs / US_PER_MS;
        const known = this.#pools.get(name);
        if (known !== undefined) {
          known.emptyMs = emptyMs;
          continue;
        }
        if (this.#pools.size >= this.#settings.poolsMax) this.#forgetIdle(nowMs);
        if (this.#pools.size >= this.#settings.poolsMax) return false;
        const reserve = isTeam ? TEAM_RESERVE : 0;
        this.#pools.set(name, new RatePool({ emptyMs, reserve, isFull, nowMs }));
      }
    }
    return true;
  }

  #pool({ name }: PoolPart): RatePool {
    const pool = this.#pools.get(name);
    if (pool === undefined) throw new Error(`invariant broken: no pool ${name}`);
    return pool;
  }

  /** Whoever has a share hears of this row when it asks again; whoever is silent loses it. */
  #retryMs(row: Row, { rate }: Metric, nowMs: number): number {
    const { renewMs } = this.#settings;
    if (nowMs < this.#unknownUntilMs) return Math.ceil(this.#unknownUntilMs - nowMs);
    const next = rate.pools.map((part) => this.#pool(part).heardNextMs(row.key, renewMs, nowMs));
    return Math.max(renewMs / 4, Math.ceil(Math.max(...next) - nowMs));
  }

  #lastsMs(): number {
    const { ttlMs, driftMilli, guardMs } = this.#settings;
    return (ttlMs * (1000 + driftMilli)) / 1000 + guardMs;
  }

  /** What nobody has and what would be full by now is as if it had never been, also to rows that wait. */
  #forgetIdle(nowMs: number): void {
    for (const [name, pool] of this.#pools) {
      if (pool.isIdle(nowMs)) this.#pools.delete(name);
    }
  }
}

/** Of whom nothing is known yet: an even part of its own rate, and of its team's some requests. */
function firstWant(metric: Metric | undefined, need: number): number {
  return metric?.rate.isShared ? Math.min(RATE_WHOLE, FIRST_REQUESTS * need) : RATE_WHOLE;
}

function rowKey({ node, account, contract }: LentRow): string {
  return `${node} ${account} ${contract}`;
}

function lentRow(key: string): LentRow {
  const [node = "", account = "", contract = ""] = key.split(" ");
  return { node, account, contract };
}

function metricsOf(rate: AgentRate): (Metric | undefined)[] {
  return rate.map((one) => one && { rate: one, share: 0, lagUs: 0, addedLagUs: 0 });
}
