import { FULL_BUCKETS, lagsAfter, type RateLags } from "../mesh/rate-share.ts";
import type { Clock } from "../ports/clock.ts";
import { rateLagsOf, retiredRateLags, setRateShare } from "./table/rate-share.ts";
import { controlPinner, pin, type RowRef, unpin } from "./table/rows.ts";
import type { Table } from "./table/table.ts";
import type { NoShare } from "./thread-messages.ts";

// This node's shares of the rates that policy gives agents, on the control thread.
//
// N1. One question an agent is under way at a time. A share that was not answered for ends by the time
//     its question was sent, so the coordinator never counts on less than what is used here.
// N2. A share that got smaller is in force before the coordinator is told so.
// N3. Whoever has not asked for a while gives its share back, with how full its buckets are.

/** What a node says of an agent's rate, and what it may have of it. */
export type RateQuestion = {
  /** `agent/<t>/<a>` */
  readonly account: string;
  readonly held: number;
  /** Microseconds. */
  readonly lags: RateLags;
  readonly release: boolean;
};

export type RateAnswer = {
  readonly share: number;
  readonly ttlMs: number;
  readonly addedLags: RateLags;
  readonly retryMs: number;
};

/** Undefined: nobody answered, or refused for a reason that is not the rate's. */
export type AskRate = (question: RateQuestion) => Promise<RateAnswer | undefined>;

export type RateSharesDeps = {
  readonly table: Table;
  readonly clock: Clock;
  readonly ask: AskRate;
  /** The row that serves an agent under policy alone, if there is one now. */
  readonly rowOf: (agentId: string) => RowRef | undefined;
};

/** Shares are asked for again so often while their agents ask. */
const RENEW_NS = 2_000_000_000n;
const IDLE_NS = 30_000_000_000n;
/** Agents of which a share is remembered; beyond it an agent waits for another to fall idle. */
export const SHARES_MAX = 65_536;
const NS_PER_MS = 1_000_000n;
const NS_PER_US = 1_000n;

type Share = {
  share: number;
  untilNs: bigint;
  /** The row whose cells say so. */
  row: RowRef | undefined;
  /** How far its buckets were from full when they were looked at last. */
  lags: RateLags;
  lookedAtNs: bigint;
  usedAtNs: bigint;
  askedAtNs: bigint;
  asking: Promise<NoShare | undefined> | undefined;
  /** No question before this: there was nothing to be had. */
  retryAtNs: bigint;
};

export class RateShares {
  readonly #deps: RateSharesDeps;
  readonly #shares = new Map<string, Share>();

  constructor(deps: RateSharesDeps) {
    this.#deps = deps;
  }

  /**
   * Brings a share of the agent's rate into its row.
   *
   * @returns Undefined: it is there now.
   */
  need(agentId: string): Promise<NoShare | undefined> {
    const nowNs = this.#deps.clock.monoNs();
    const share = this.#of(agentId, nowNs);
    if (share === undefined) return Promise.resolve("unanswered");
    share.usedAtNs = nowNs;
    if (share.asking !== undefined) return share.asking;
    if (share.share > 0 && nowNs < share.untilNs && !this.#isInForce(agentId, share)) {
      return Promise.resolve(this.#moveTo(agentId, share) ? undefined : "unanswered");
    }
    const waitNs = share.retryAtNs - nowNs;
    if (waitNs > 0n) {
      return Promise.resolve({ retryMs: Number((waitNs + NS_PER_MS - 1n) / NS_PER_MS) });
    }
    return this.#ask(agentId, share);
  }

  /** Once a second: asks again for what is used, and gives back what is not. */
  tick(): void {
    const nowNs = this.#deps.clock.monoNs();
    for (const [agentId, share] of this.#shares) {
      this.#look(share, nowNs);
      if (share.asking !== undefined) continue;
      const isIdle = nowNs - share.usedAtNs >= IDLE_NS;
      const isOver = share.share === 0 || nowNs >= share.untilNs;
      if (isIdle) void this.#release(agentId, share);
      else if (!isOver && nowNs - share.askedAtNs >= RENEW_NS) void this.#ask(agentId, share);
    }
  }

  /** Gives everything back; for an orderly end. */
  async releaseAll(): Promise<void> {
    const all = [...this.#shares];
    await Promise.all(all.map(([, { asking }]) => asking));
    await Promise.all(all.map(([agentId, share]) => this.#release(agentId, share)));
  }

  #of(agentId: string, nowNs: bigint): Share | undefined {
    const known = this.#shares.get(agentId);
    if (known !== undefined || this.#shares.size >= SHARES_MAX) return known;
    const share: Share = {
      share: 0,
      untilNs: 0n,
      row: this.#deps.rowOf(agentId),
      lags: FULL_BUCKETS,
      lookedAtNs: nowNs,
      usedAtNs: nowNs,
      askedAtNs: nowNs,
      asking: undefined,
      retryAtNs: 0n,
    };
    this.#shares.set(agentId, share);
    return share;
  }

  #ask(agentId: string, share: Share): Promise<NoShare | undefined> {
    const asking = this.#askOnce(agentId, share)
      .catch((): NoShare => "unanswered")
      .finally(() => {
        share.asking = undefined;
      });
    share.asking = asking;
    return asking;
  }

  /** N1, N2. */
  async #askOnce(agentId: string, share: Share): Promise<NoShare | undefined> {
    const { clock, ask } = this.#deps;
    const sentNs = clock.monoNs();
    this.#look(share, sentNs);
    const held = sentNs < share.untilNs ? share.share : 0;
    share.askedAtNs = sentNs;
    const account = `agent/${agentId}`;
    const answer = await ask({ account, held, lags: share.lags, release: false });
    if (answer === undefined) return clock.monoNs() < share.untilNs ? undefined : "unanswered";
    const isLent = this.#putInForce(agentId, share, { answer, held, sentNs });
    if (answer.share === 0) {
      share.retryAtNs = clock.monoNs() + BigInt(answer.retryMs) * NS_PER_MS;
      return { retryMs: answer.retryMs };
    }
    // Told at once, or the others wait for it until the next time.
    if (answer.share < held) void Promise.resolve().then(() => this.#ask(agentId, share));
    return isLent ? undefined : "unanswered";
  }

  #putInForce(
    agentId: string,
    share: Share,
    of: { readonly answer: RateAnswer; readonly held: number; readonly sentNs: bigint },
  ): boolean {
    const { answer, held, sentNs } = of;
    const { clock } = this.#deps;
    const untilNs = sentNs + BigInt(answer.ttlMs) * NS_PER_MS;
    // Of the row's own only while it has not ended meanwhile, and only where it has been counted in.
    const isSame = this.#isInForce(agentId, share);
    const nowNs = clock.monoNs();
    if (!isSame && held > 0) this.#moveTo(agentId, share);
    const before = Math.min(held, answer.share);
    share.share = answer.share;
    share.untilNs = untilNs;
    const lent = { share: answer.share, untilNs, before, addedLags: answer.addedLags };
    share.row = this.#deps.rowOf(agentId);
    return this.#inRow(share, (row) => setRateShare(this.#deps.table, row, lent, nowNs));
  }

  /** An agent's row may change under its share: the new one starts as full as the old one was. */
  #moveTo(agentId: string, share: Share): boolean {
    const { clock, table, rowOf } = this.#deps;
    const nowNs = clock.monoNs();
    this.#look(share, nowNs);
    share.row = rowOf(agentId);
    const { share: parts, untilNs, lags } = share;
    const lent = { share: parts, untilNs, before: 0, addedLags: lags };
    return this.#inRow(share, (row) => setRateShare(table, row, lent, nowNs));
  }

  #isInForce(agentId: string, { row }: Share): boolean {
    const now = this.#deps.rowOf(agentId);
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
    if (last) lags = emptierOf(before, last);
    if (lags.some((lag, at) => lag > (before[at] ?? 0) + 1)) share.usedAtNs = nowNs;
    share.lags = lags;
    share.lookedAtNs = nowNs;
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
  async #release(agentId: string, share: Share): Promise<void> {
    this.#shares.delete(agentId);
    const { table, clock, ask } = this.#deps;
    const nowNs = clock.monoNs();
    const none = { share: 0, untilNs: 0n, before: 0, addedLags: FULL_BUCKETS };
    this.#inRow(share, (row) => setRateShare(table, row, none, nowNs));
    this.#look(share, nowNs);
    if (share.share === 0 || nowNs >= share.untilNs) return;
    const { share: held, lags } = share;
    // Unheard it ends by itself.
    await ask({ account: `agent/${agentId}`, held, lags, release: true }).catch(() => undefined);
  }
}

function emptierOf(one: RateLags, other: RateLags): RateLags {
  return [Math.max(one[0], other[0]), Math.max(one[1], other[1]), Math.max(one[2], other[2])];
}
