import {
  eachMetric,
  FULL_BUCKETS,
  lagsAfter,
  NO_PARTS,
  type RateAnswer,
  type RateLags,
  type RateParts,
  type RateQuestion,
  type RateRow,
} from "../mesh/rate-share.ts";
import type { Clock } from "../ports/clock.ts";
import { pause } from "../ports/pause.ts";
import { accountOf, type Holder } from "./account-of.ts";
import type { NoShare } from "./rate-need.ts";
import { dryWants, lackingWants, wantsByUse } from "./rate-wants.ts";
import {
  type RateUse,
  rateLagsOf,
  rateUseOf,
  retiredRateLags,
  setRateShares,
} from "./table/rate-share.ts";
import { controlPinner, pin, type RowRef, unpin } from "./table/rows.ts";
import type { Table } from "./table/table.ts";

// What this node's rows have of the rates that policy gives agents, on the control thread.
//
// N1. One question a row is under way at a time. Shares that were not answered for end by the time
//     their question was sent, so the coordinator never counts on less than what is used here.
// N2. A share that got smaller is in force before the coordinator is told so.
// N3. Whoever has not asked for a while gives its shares back, with how full its buckets are.

/** Goes the whole way, and is of an account that has no rate: no share of anything moves. */
export const RATE_OF_NOBODY: RateQuestion = {
  ...{ account: "overrun", contract: "", release: false },
  ...{ held: NO_PARTS, needs: NO_PARTS, wants: NO_PARTS, lags: FULL_BUCKETS },
};

/** Undefined: nobody answered, or refused for a reason that is not the rate's. */
export type AskRate = (question: RateQuestion) => Promise<RateAnswer | undefined>;

/** `isMore`: of what is not 0 the row has some, and ran dry. */
export type Needed = Holder & { readonly needs: RateParts; readonly isMore?: boolean | undefined };

/** Why is it asked: it lacks some of what a request needs, or ran dry of what is not 0. */
type How = { readonly isWanting?: boolean; readonly dry?: RateParts };

export type RateSharesDeps = {
  readonly table: Table;
  readonly clock: Clock;
  readonly ask: AskRate;
  /** The row that serves an agent, under policy alone or under a contract, if there is one now. */
  readonly rowOf: (holder: Holder) => RowRef | undefined;
};

/** Shares are asked for again so often while their agents ask. */
const RENEW_NS = 2_000_000_000n;
const IDLE_NS = 30_000_000_000n;
/** What the largest request took counts as needed for so long after it was asked for. */
const NEED_NS = 10_000_000_000n;
/** A use is measured over this time at least. */
const MEASURE_NS = 500_000_000n;
/** A wait so short is for others that make room, and is waited here, so often at most. */
const ROOM_WAIT_MS_MAX = 50;
const ROOM_ASKS_MAX = 4;
/** Whoever ran dry and was given no more asks again after this time. */
const DRY_AGAIN_MS = 500;
/** Rows of which shares are remembered; beyond it an agent waits for another to fall idle. */
export const SHARES_MAX = 65_536;
const NS_PER_MS = 1_000_000n;
const NS_PER_US = 1_000n;

type Share = {
  readonly holder: Holder;
  shares: RateParts;
  untilNs: bigint;
  /** The row whose cells say so. */
  row: RowRef | undefined;
  /** How far its buckets were from full when they were looked at last. */
  lags: RateLags;
  lookedAtNs: bigint;
  usedAtNs: bigint;
  askedAtNs: bigint;
  asking: Promise<NoShare | undefined> | undefined;
  /** It has to be asked about once more: somebody lacks what it has. */
  isRecalled: boolean;
  /** Questions until others have made room, which all requests wait for that lack some, or more. */
  getting: Promise<NoShare | undefined> | undefined;
  /** No question before this: there was nothing to be had. */
  retryAtNs: bigint;
  needs: RateParts;
  neededAtNs: bigint;
  wants: RateParts;
  /** The row's counts when its use was measured last. */
  measured: { readonly row: RowRef; readonly use: RateUse; readonly atNs: bigint } | undefined;
};

export class RateShares {
  readonly #deps: RateSharesDeps;
  /** By account of the row. */
  readonly #shares = new Map<string, Share>();

  constructor(deps: RateSharesDeps) {
    this.#deps = deps;
  }

  /**
   * Brings what a request needs of its agent's rate into its row.
   *
   * @returns Undefined: it is there now, or may be had by asking again.
   */
  async need(of: Needed): Promise<NoShare | undefined> {
    const { needs } = of;
    const nowNs = this.#deps.clock.monoNs();
    const share = this.#of(of, nowNs);
    if (share === undefined) return "unanswered";
    share.usedAtNs = nowNs;
    if (of.isMore) return this.#more(share, needs);
    share.neededAtNs = nowNs;
    share.needs = eachMetric((at) => Math.max(share.needs[at], needs[at]));
    if (share.asking === undefined && isCovered(share, needs, nowNs)) {
      if (this.#isInForce(share)) return undefined;
      return this.#moveTo(share) ? undefined : "unanswered";
    }
    const waitNs = share.retryAtNs - nowNs;
    if (share.asking === undefined && share.getting === undefined && waitNs > 0n) {
      return { retryMs: Number((waitNs + NS_PER_MS - 1n) / NS_PER_MS) };
    }
    const isThere = () => isCovered(share, share.needs, this.#deps.clock.monoNs());
    const none = await this.#get(share, { isWanting: true }, isThere);
    return isCovered(share, needs, this.#deps.clock.monoNs()) ? undefined : none;
  }

  /** The coordinator says that others lack what this row has: it is asked about at once. */
  recall({ account, contract }: RateRow): void {
    const agentId = account.slice("agent/".length);
    const contractId = contract === "" ? undefined : contract;
    const share = this.#shares.get(accountOf({ agentId, contractId }));
    if (share === undefined) return;
    if (share.asking === undefined) void this.#ask(share);
    else share.isRecalled = true;
  }

  /** Once a second: asks again for what is used, and gives back what is not. */
  tick(): void {
    const nowNs = this.#deps.clock.monoNs();
    for (const share of this.#shares.values()) {
      this.#look(share, nowNs);
      if (share.asking !== undefined) continue;
      const isIdle = nowNs - share.usedAtNs >= IDLE_NS;
      const isOver = share.shares.includes(0) || nowNs >= share.untilNs;
      if (isIdle) void this.#release(share);
      else if (!isOver && nowNs - share.askedAtNs >= RENEW_NS) void this.#ask(share);
    }
  }

  /** Gives everything back; for an orderly end. */
  async releaseAll(): Promise<void> {
    const all = [...this.#shares.values()];
    await Promise.all(all.map(({ asking }) => asking));
    await Promise.all(all.map((share) => this.#release(share)));
  }

  #of(holder: Holder, nowNs: bigint): Share | undefined {
    const account = accountOf(holder);
    const known = this.#shares.get(account);
    if (known !== undefined || this.#shares.size >= SHARES_MAX) return known;
    const { agentId, contractId } = holder;
    const share: Share = {
      holder: { agentId, contractId },
      shares: NO_PARTS,
      untilNs: 0n,
      row: this.#deps.rowOf(holder),
      lags: FULL_BUCKETS,
      lookedAtNs: nowNs,
      usedAtNs: nowNs,
      askedAtNs: nowNs,
      asking: undefined,
      isRecalled: false,
      getting: undefined,
      retryAtNs: 0n,
      needs: NO_PARTS,
      neededAtNs: nowNs,
      wants: NO_PARTS,
      measured: undefined,
    };
    this.#shares.set(account, share);
    return share;
  }

  /** A bucket of these metrics has run dry: as much more as others leave to it. */
  async #more(share: Share, dry: RateParts): Promise<NoShare | undefined> {
    const before = share.shares;
    const hasMore = () => share.shares.some((one, at) => one > (before[at] ?? 0));
    // What is under way was asked before it ran dry.
    await share.asking;
    const none = hasMore() ? undefined : await this.#get(share, { dry }, hasMore);
    return hasMore() ? undefined : (none ?? { retryMs: DRY_AGAIN_MS });
  }

  /** Asks, and again while others are making room. */
  #get(share: Share, how: How, isThere: () => boolean): Promise<NoShare | undefined> {
    const getting =
      share.getting ??
      this.#askUntil(share, how, isThere).finally(() => {
        share.getting = undefined;
      });
    share.getting = getting;
    return getting;
  }

  async #askUntil(share: Share, how: How, isThere: () => boolean): Promise<NoShare | undefined> {
    for (let no = 1; ; no++) {
      const none = await (share.asking ?? this.#ask(share, how));
      if (none === undefined || none === "unanswered" || isThere()) return none;
      if (none.retryMs > ROOM_WAIT_MS_MAX || no === ROOM_ASKS_MAX) return none;
      await pause(this.#deps.clock, none.retryMs);
    }
  }

  #ask(share: Share, how: How = {}): Promise<NoShare | undefined> {
    const asking = this.#askOnce(share, how)
      .catch((): NoShare => "unanswered")
      .finally(() => {
        // What was told at once after it is another question.
        if (share.asking !== asking) return;
        share.asking = undefined;
        if (share.isRecalled) void this.#ask(share);
      });
    share.asking = asking;
    return asking;
  }

  /** N1, N2. */
  async #askOnce(share: Share, { isWanting, dry }: How): Promise<NoShare | undefined> {
    const { clock } = this.#deps;
    const sentNs = clock.monoNs();
    share.isRecalled = false;
    this.#look(share, sentNs);
    this.#measure(share, sentNs);
    const held = sentNs < share.untilNs ? share.shares : NO_PARTS;
    // Whoever had some and needs more has use for all that others leave.
    if (isWanting === true && !held.every((one) => one === 0))
      share.wants = lackingWants(held, share.needs);
    if (dry !== undefined) share.wants = dryWants(share, dry);
    share.askedAtNs = sentNs;
    const answer = await this.#say(share, held, false);
    if (answer === undefined) return clock.monoNs() < share.untilNs ? undefined : "unanswered";
    const isLent = this.#putInForce(share, { answer, held, sentNs });
    const isLess = held.some((had, at) => (answer.shares[at] ?? 0) < had);
    // Told at once, or the others wait for it until the next time.
    if (isLess) void Promise.resolve().then(() => this.#confirm(share, held));
    if (answer.retryMs > 0) {
      share.retryAtNs = clock.monoNs() + BigInt(answer.retryMs) * NS_PER_MS;
      return { retryMs: answer.retryMs };
    }
    return isLent ? undefined : "unanswered";
  }

  /** Whoever was told to have none of a rate gives up what belongs to it, and asks again when it needs it. */
  #confirm(share: Share, held: RateParts): void {
    const isNone = held.some((had, at) => had > 0 && share.shares[at] === 0);
    void (isNone ? this.#release(share) : this.#ask(share));
  }

  #say(share: Share, held: RateParts, release: boolean): Promise<RateAnswer | undefined> {
    const { holder, needs, wants, lags } = share;
    const account = `agent/${holder.agentId}`;
    const contract = holder.contractId ?? "";
    return this.#deps.ask({ account, contract, held, needs, wants, lags, release });
  }

  #putInForce(
    share: Share,
    of: { readonly answer: RateAnswer; readonly held: RateParts; readonly sentNs: bigint },
  ): boolean {
    const { answer, held, sentNs } = of;
    const { clock } = this.#deps;
    const untilNs = sentNs + BigInt(answer.ttlMs) * NS_PER_MS;
    // Of the row's own only while it has not ended meanwhile, and only where it has been counted in.
    const isSame = this.#isInForce(share);
    const nowNs = clock.monoNs();
    if (!isSame && held.some((one) => one > 0)) this.#moveTo(share);
    const before = eachMetric((at) => Math.min(held[at], answer.shares[at]));
    share.shares = answer.shares;
    share.untilNs = untilNs;
    const lent = { shares: answer.shares, untilNs, before, addedLags: answer.addedLags };
    share.row = this.#deps.rowOf(share.holder);
    return this.#inRow(share, (row) => setRateShares(this.#deps.table, row, lent, nowNs));
  }

  /** An agent's row may change under its shares: the new one starts as full as the old one was. */
  #moveTo(share: Share): boolean {
    const { clock, table, rowOf } = this.#deps;
    const nowNs = clock.monoNs();
    this.#look(share, nowNs);
    share.row = rowOf(share.holder);
    const { shares, untilNs, lags } = share;
    const lent = { shares, untilNs, before: NO_PARTS, addedLags: lags };
    return this.#inRow(share, (row) => setRateShares(table, row, lent, nowNs));
  }

  #isInForce({ holder, row }: Share): boolean {
    const now = this.#deps.rowOf(holder);
    return row !== undefined && now?.row === row.row && now.generation === row.generation;
  }

  /** N3. What was taken since is told; of a row that was given up, as far as it is still there. */
  #look(share: Share, nowNs: bigint): void {
    const { table } = this.#deps;
    const before = lagsAfter(share.lags, Number((nowNs - share.lookedAtNs) / NS_PER_US));
    let lags: RateLags = before;
    const isLive = this.#inRow(share, (row) => {
      lags = rateLagsOf(table, row, nowNs);
    });
    const left = isLive || share.row === undefined ? undefined : share.row;
    const last = left && retiredRateLags(table, left, nowNs);
    // Nobody refills a row that was given up, so the emptier of the two is the later one.
    if (last) lags = eachMetric((at) => Math.max(before[at], last[at]));
    if (lags.some((lag, at) => lag > (before[at] ?? 0) + 1)) share.usedAtNs = nowNs;
    share.lags = lags;
    share.lookedAtNs = nowNs;
  }

  /** What of the rates would be used: what was, with room for more; all, where there was too little. */
  #measure(share: Share, nowNs: bigint): void {
    const { row, measured } = share;
    if (nowNs - share.neededAtNs >= NEED_NS) share.needs = [share.needs[0], 0, 0];
    if (row === undefined) return;
    let use: RateUse | undefined;
    this.#inRow(share, () => {
      use = rateUseOf(this.#deps.table, row.row);
    });
    if (use === undefined) return;
    const isSame = measured?.row.row === row.row && measured.row.generation === row.generation;
    if (isSame && nowNs - measured.atNs < MEASURE_NS) return;
    share.measured = { row, use, atNs: nowNs };
    if (!isSame) return;
    const passedUs = Number((nowNs - measured.atNs) / NS_PER_US);
    const { usedUs, limited } = use;
    const used = eachMetric((at) => Math.max(0, (usedUs[at] - measured.use.usedUs[at]) | 0));
    if (used.some((one) => one > 0)) share.usedAtNs = nowNs;
    share.wants = wantsByUse(share, used, passedUs);
    if (limited !== measured.use.limited) share.wants = dryWants(share, share.shares);
  }

  #inRow({ row }: Share, act: (row: number) => void): boolean {
    const { table } = this.#deps;
    const pinner = controlPinner(table);
    if (row === undefined || !pin(table, pinner, row)) return false;
    try {
      act(row.row);
      return true;
    } finally {
      unpin(table, pinner, row.row);
    }
  }

  /** In force before it is told: the row has nothing any more. */
  async #release(share: Share): Promise<void> {
    this.#shares.delete(accountOf(share.holder));
    const { table, clock } = this.#deps;
    const nowNs = clock.monoNs();
    const none = { shares: NO_PARTS, untilNs: 0n, before: NO_PARTS, addedLags: FULL_BUCKETS };
    this.#inRow(share, (row) => setRateShares(table, row, none, nowNs));
    this.#look(share, nowNs);
    if (share.shares.every((one) => one === 0) || nowNs >= share.untilNs) return;
    // Unheard it ends by itself.
    await this.#say(share, share.shares, true).catch(() => undefined);
  }
}

function isCovered({ shares, untilNs }: Share, needs: RateParts, nowNs: bigint): boolean {
  return nowNs < untilNs && needs.every((need, at) => need <= (shares[at] ?? 0));
}
