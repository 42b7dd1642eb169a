// The rate of an agent that several nodes serve, lent to them in shares.
//
// R1. The shares of one account that nodes may be using never add up to more than the whole. A share
//     is free again once its node has said that it refills by less, has given it back, or cannot be
//     using it any more by any clock within the drift that leases allow for.
// R2. How full buckets are moves with the share: what a node used before it gave a share up is missing
//     from it, and what nobody can say counts as used.
// R3. After another coordinator lent, nobody gets more than it says it has until all of that has ended.
//
// In memory alone: shares last for seconds, and their nodes say what they have.

import {
  FULL_BUCKETS,
  lagsAfter,
  mergeLags,
  RATE_WHOLE,
  type RateLags,
} from "../mesh/rate-share.ts";

export type RateShareSettings = {
  /** How long a share lasts unless it is asked for again. */
  readonly ttlMs: number;
  /** How often nodes ask again. */
  readonly renewMs: number;
  /** How much slower a node's clock may run, thousandths. */
  readonly driftMilli: number;
  readonly guardMs: number;
  /** Accounts that are known at once; beyond it nothing is lent to others. */
  readonly accountsMax: number;
};

export type RateAsk = {
  readonly node: string;
  readonly bootId: string;
  readonly account: string;
  readonly held: number;
  /** Microseconds. */
  readonly lags: RateLags;
  readonly release: boolean;
};

export type RateEnv = {
  /** Monotonic clock, ms. */
  readonly nowMs: number;
  /** Lags of empty buckets of this account, microseconds. */
  readonly empty: RateLags;
  /** No other node could have a share of anything. */
  readonly isAlone: boolean;
};

export type RateLoan = {
  readonly share: number;
  readonly ttlMs: number;
  readonly addedLags: RateLags;
  readonly retryMs: number;
};

/** A part of a rate that nobody refills by, and how full it was at a time. */
type Free = { share: number; lags: RateLags; atMs: number };

type Holder = {
  readonly bootId: string;
  /** The most that the node may be refilling by. */
  reserved: number;
  /** How full its buckets were when it said so last. */
  lags: RateLags;
  /** How full the part was that was added last. */
  addedLags: RateLags;
  /** When it was last told a share, and said how full its buckets were. */
  toldMs: number;
  expiresMs: number;
};

type Account = {
  readonly free: Free;
  readonly holders: Map<string, Holder>;
  /** Nodes that have less than their part, and until when that counts. */
  readonly waiting: Map<string, number>;
};

const NOTHING_LENT = { share: 0, ttlMs: 0, addedLags: FULL_BUCKETS } as const;
const US_PER_MS = 1_000;

export class RateShares {
  readonly #settings: RateShareSettings;
  readonly #accounts = new Map<string, Account>();
  #unknownUntilMs = Number.NEGATIVE_INFINITY;

  constructor(settings: RateShareSettings) {
    this.#settings = settings;
  }

  /** R3. What was lent until now was lent by another, or by a run that ended. */
  begin(nowMs: number): void {
    this.#accounts.clear();
    this.#unknownUntilMs = nowMs + this.#lastsMs();
  }

  /** Takes in what a node says it has, and says what it may have from now on. */
  ask(ask: RateAsk, env: RateEnv): RateLoan {
    const account = this.#account(ask.account, env);
    if (account === undefined) return { ...NOTHING_LENT, retryMs: this.#settings.ttlMs };
    for (const [node, holder] of account.holders) {
      const isOver =
        env.nowMs >= holder.expiresMs || (node === ask.node && holder.bootId !== ask.bootId);
      if (isOver) giveUp(account, node, { share: holder.reserved, lags: env.empty, env });
    }
    const holder = this.#heard(account, ask, env);
    account.waiting.delete(ask.node);
    if (!ask.release) return this.#offer(account, { ...ask, holder }, env);
    giveUp(account, ask.node, { share: holder.reserved, lags: ask.lags, env });
    return { ...NOTHING_LENT, retryMs: 0 };
  }

  /** For operators and tests: what nodes may be using of an account, in parts of the whole. */
  lent(account: string): ReadonlyMap<string, number> {
    const holders = this.#accounts.get(account)?.holders ?? new Map<string, Holder>();
    return new Map([...holders].map(([node, { reserved }]) => [node, reserved]));
  }

  #account(name: string, env: RateEnv): Account | undefined {
    const known = this.#accounts.get(name);
    if (known !== undefined) return known;
    if (this.#accounts.size >= this.#settings.accountsMax) this.#forgetIdle(env.nowMs);
    if (this.#accounts.size >= this.#settings.accountsMax) return undefined;
    const lags = env.nowMs < this.#unknownUntilMs ? env.empty : FULL_BUCKETS;
    const free = { share: RATE_WHOLE, lags: env.isAlone ? FULL_BUCKETS : lags, atMs: env.nowMs };
    const account = { free, holders: new Map(), waiting: new Map() };
    this.#accounts.set(name, account);
    return account;
  }

  /** R1, R2. What the node does not say it has it cannot be using: a node asks once at a time. */
  #heard(account: Account, ask: RateAsk, env: RateEnv): Holder {
    const known = account.holders.get(ask.node);
    if (known === undefined) return this.#newHolder(account, ask, env);
    const held = Math.min(ask.held, known.reserved);
    const share = known.reserved - held;
    if (share > 0) {
      // Nobody refilled it since: by now it is at most as empty as what the node has, as what it said it
      // had, or as what was offered to it and may never have arrived.
      const sinceUs = (env.nowMs - known.toldMs) * US_PER_MS;
      const before = lagsAfter(larger(known.lags, known.addedLags), sinceUs);
      addFree(account.free, { share, lags: larger(ask.lags, before), env });
      known.reserved = held;
    }
    known.lags = ask.lags;
    return known;
  }

  #newHolder(account: Account, ask: RateAsk, env: RateEnv): Holder {
    const isUnknown = env.nowMs < this.#unknownUntilMs;
    const reserved = isUnknown ? Math.min(ask.held, account.free.share) : 0;
    account.free.share -= reserved;
    const holder = {
      bootId: ask.bootId,
      reserved,
      lags: ask.lags,
      addedLags: FULL_BUCKETS,
      toldMs: env.nowMs,
      expiresMs: env.nowMs + this.#lastsMs(),
    };
    account.holders.set(ask.node, holder);
    return holder;
  }

  #offer(account: Account, { node, holder }: RateAsk & { readonly holder: Holder }, env: RateEnv) {
    const { nowMs } = env;
    const { ttlMs } = this.#settings;
    const before = holder.reserved;
    const most = Math.floor(RATE_WHOLE / sharing(account, node, nowMs));
    const mayGrow = nowMs >= this.#unknownUntilMs || env.isAlone;
    const share = mayGrow ? Math.min(most, before + account.free.share) : Math.min(most, before);
    const added = Math.max(0, share - before);
    const addedLags = freeLags(account.free, nowMs);
    account.free.share -= added;
    holder.reserved += added;
    holder.addedLags = added > 0 ? addedLags : FULL_BUCKETS;
    holder.toldMs = nowMs;
    holder.expiresMs = nowMs + this.#lastsMs();
    if (share < most) account.waiting.set(node, nowMs + ttlMs);
    if (share > 0)
      return { share, ttlMs, addedLags: added > 0 ? addedLags : FULL_BUCKETS, retryMs: 0 };
    if (holder.reserved === 0) account.holders.delete(node);
    return { ...NOTHING_LENT, retryMs: this.#retryMs(account, nowMs) };
  }

  /** Whoever has a share hears of this node when it asks again; whoever is silent loses it. */
  #retryMs({ holders }: Account, nowMs: number): number {
    const { renewMs } = this.#settings;
    if (nowMs < this.#unknownUntilMs) return Math.ceil(this.#unknownUntilMs - nowMs);
    const next = [...holders.values()].map(({ toldMs, expiresMs }) =>
      nowMs < toldMs + 2 * renewMs ? toldMs + renewMs : expiresMs,
    );
    return Math.max(renewMs / 4, Math.ceil(Math.min(...next) - nowMs));
  }

  #lastsMs(): number {
    const { ttlMs, driftMilli, guardMs } = this.#settings;
    return (ttlMs * (1000 + driftMilli)) / 1000 + guardMs;
  }

  /** What nobody has and what would be full by now is as if it had never been. */
  #forgetIdle(nowMs: number): void {
    for (const [name, { free, holders }] of this.#accounts) {
      const isFull = freeLags(free, nowMs).every((lag) => lag === 0);
      const isOver = [...holders.values()].every(({ expiresMs }) => nowMs >= expiresMs);
      if (holders.size === 0 ? isFull : isOver && isFull) this.#accounts.delete(name);
    }
  }
}

/** Nodes that the whole is to be divided among: those that have of it, those that wait, and this one. */
function sharing({ holders, waiting }: Account, node: string, nowMs: number): number {
  const nodes = new Set([...holders.keys(), node]);
  for (const [one, untilMs] of waiting) {
    if (nowMs < untilMs) nodes.add(one);
    else waiting.delete(one);
  }
  return nodes.size;
}

function giveUp(
  account: Account,
  node: string,
  of: { readonly share: number; readonly lags: RateLags; readonly env: RateEnv },
): void {
  addFree(account.free, of);
  account.holders.delete(node);
}

function addFree(
  free: Free,
  of: { readonly share: number; readonly lags: RateLags; readonly env: RateEnv },
): void {
  const { share, lags, env } = of;
  const own = { share: free.share, lags: freeLags(free, env.nowMs) };
  free.lags = mergeLags(own, { share, lags: smaller(lags, env.empty) });
  free.share += share;
  free.atMs = env.nowMs;
}

function freeLags({ lags, atMs }: Free, nowMs: number): RateLags {
  return lagsAfter(lags, (nowMs - atMs) * US_PER_MS);
}

function larger(one: RateLags, other: RateLags): RateLags {
  return [Math.max(one[0], other[0]), Math.max(one[1], other[1]), Math.max(one[2], other[2])];
}

function smaller(one: RateLags, other: RateLags): RateLags {
  return [Math.min(one[0], other[0]), Math.min(one[1], other[1]), Math.min(one[2], other[2])];
}
