// The mesh's money: who may spend how much until when, lent to nodes in leases.
//
// Pure: time, ids and settings come in, state changes are collected for the store, nothing is awaited.
//
// I1. In every window of an account the charges of its leases never exceed the limit that stood at
//     the grant. A lease charges its amount in full until it is final, then what was spent.
// I2. What nodes spent is at most what is charged.
// I4. A grant is told only after the writes collected with it are on disk (the actor's part).
// I5. One lease at most for one (node, boot, request), remembered or not.
// I7. A lease expires here only after its node's own deadline, however far clocks drift within rho.
// I8. `spent` of a lease never falls, its amount never rises, `final` stays, a refund happens once.
// L1. limit = available + reserved + spent + children in every row after every change.
// L2. The ledger's wall clock never goes back, so that a window which ended is never lent from again.

import type { AccountLimits } from "./account-limits.ts";
import { LeaseEnds } from "./lease-ends.ts";
import { LedgerAccounts } from "./ledger-accounts.ts";
import { eachUnit, negative } from "./ledger-amounts.ts";
import { LedgerContracts } from "./ledger-contracts.ts";
import type { Lease } from "./ledger-lease.ts";
import type { LedgerRow } from "./ledger-row.ts";
import type { LedgerSettings } from "./ledger-settings.ts";
import { sliceOf } from "./ledger-slice.ts";
import type { LedgerState, LimitOverride } from "./ledger-state.ts";
import {
  kindOfWindow,
  LEDGER_UNITS,
  type LedgerAmounts,
  type LedgerUnit,
  NO_AMOUNTS,
  WINDOW_KINDS,
  windowAt,
  windowEndMs,
} from "./ledger-window.ts";
import type { StartRefusal } from "./node-starts.ts";

/** What a turn of the ledger is told about the world. */
export type LedgerEnv = {
  /** Wall clock, ms since the Unix epoch. */
  readonly nowMs: number;
  /** Monotonic clock of this process, ms. */
  readonly monoMs: number;
  /** Fencing token of this run. */
  readonly epoch: number;
  /** Nodes that share what is left. */
  readonly activeNodes: number;
  /** What the ledger lies in takes no more leases. */
  readonly isFull: boolean;
  /** Whether a node was taken out of the mesh: what its key signs counts for nothing. */
  readonly isRemoved: (node: string) => boolean;
};

/** Why nothing may be lent, for a reason that is not money's. */
export type Barred = { readonly refused: string; readonly message: string };

export type LeaseAsk = {
  readonly node: string;
  readonly bootId: string;
  readonly requestId: string;
  readonly account: string;
  readonly need: LedgerAmounts;
  readonly want: LedgerAmounts;
  /** Id of the lease if it is granted. */
  readonly leaseId: string;
  /** What was granted before this is told all the same. */
  readonly barred?: Barred;
};

export type SettleAsk = {
  readonly node: string;
  readonly leaseId: string;
  readonly epoch: number;
  /** Cumulative. */
  readonly spent: LedgerAmounts;
  readonly final: boolean;
  /** What the node may still spend beside `spent`; the rest of the lease goes back. */
  readonly keep?: LedgerAmounts | undefined;
  /**
   * Whether that node is still one for the lease's agent. Where it is not, it takes nothing back: who moved the
   * agent away may have done so for what the node says.
   *
   * @param account `agent/<t>/<a>`, or an account that is no agent's.
   */
  readonly isPlaced?: (account: string) => boolean;
};

export type LedgerRefusalReason =
  /** Policy knows no such account. */
  | "account_unknown"
  | "budget_exhausted"
  | "overrun_exhausted"
  /** `leasesMax` leases are kept, or the ledger's journal is full. */
  | "budget_unavailable"
  /** Another start of the node has asked since; or something may have been granted to the request before. */
  | StartRefusal
  /** No such lease of that node. */
  | "lease_unknown"
  /** A node that reports more than it was lent is broken or lies; the lease stays charged in full. */
  | "settle_above_lease"
  /** Its agent is placed elsewhere by now; the lease stays charged in full. */
  | "not_placed";

export type LedgerRefusal = {
  readonly refused: LedgerRefusalReason;
  /** For whoever runs the mesh. */
  readonly message: string;
  /** What could have been lent of each unit, where that was too little. */
  readonly available?: LedgerAmounts;
  /** The row that was too small. */
  readonly shortfall?: Shortfall;
};

/** The tightest row of a unit that a need does not fit. */
export type Shortfall = Pick<LedgerRow, "account" | "window" | "unit"> & {
  /** Ms since the Unix epoch; Infinity where the window has no end. */
  readonly endsAtMs: number;
};

export type LeaseGrant = {
  readonly leaseId: string;
  readonly epoch: number;
  readonly account: string;
  readonly amount: LedgerAmounts;
  readonly ttlMs: number;
  readonly unlimited: readonly LedgerUnit[];
};

export type Settled = {
  readonly account: string;
  readonly spent: LedgerAmounts;
  readonly final: boolean;
};

const OVERRUN_ACCOUNT = "overrun";
const SWEEP_EVERY_MS = 250;

export class Ledger {
  readonly #settings: LedgerSettings;
  readonly #state: LedgerState;
  readonly #accounts: LedgerAccounts;
  /** Delegation: the accounts of contracts, which policy does not list. */
  readonly contracts: LedgerContracts;
  /** When leases run out, and when they may be forgotten. */
  readonly ends: LeaseEnds;
  #nextSweepMs = 0;

  constructor(settings: LedgerSettings, state: LedgerState) {
    this.#settings = settings;
    this.#state = state;
    this.contracts = new LedgerContracts(state);
    this.#accounts = new LedgerAccounts(state, this.contracts);
    this.ends = new LeaseEnds(settings, state, this.#accounts);
  }

  /** Takes over what policy says now. What is taken from accounts stays taken. */
  setLimits(limits: AccountLimits): void {
    this.#accounts.setLimits(limits);
  }

  /**
   * Takes over all that an operator has set of an account. Each limit stands over policy until its
   * window ends; what is not among them any more is policy's again.
   *
   * @param v Version of the record that says so.
   * @returns False when a record as new or newer has spoken already.
   */
  override(account: string, limits: readonly LimitOverride[], v: number, env: LedgerEnv): boolean {
    this.roll(env);
    const isOver = ({ window }: LimitOverride) => {
      const kind = kindOfWindow(window);
      return !kind || window < windowAt(kind, this.#state.nowMs);
    };
    const standing = limits.filter((limit) => !isOver(limit));
    if (!this.#state.putOverrides(account, standing, v)) return false;
    this.#accounts.limitsMoved(account);
    return true;
  }

  /** Grants a lease, or says why not. The same request gets the same lease. */
  lease(ask: LeaseAsk, env: LedgerEnv): LeaseGrant | LedgerRefusal | Barred {
    this.roll(env);
    const known = this.#state.leaseOf(ask);
    if (known) return this.#grantOf(known, env);
    const objection = this.#state.takeStart(ask);
    if (objection) return refusal(objection, `${ask.requestId} of ${ask.node} ${ask.bootId}`);
    if (ask.barred) return ask.barred;
    const chain = this.#accounts.chainOf(ask.account, ask.node);
    if (!chain) return refusal("account_unknown", `no policy for ${ask.account}`);
    if (this.#state.leaseCount >= this.#settings.leasesMax) {
      return refusal("budget_unavailable", `${this.#settings.leasesMax} leases are kept`);
    }
    if (env.isFull) return refusal("budget_unavailable", "the ledger's journal is full");
    const parts = this.#divide(chain, ask, env);
    if ("refused" in parts) return parts;
    const lease: Lease = {
      id: ask.leaseId,
      epoch: env.epoch,
      chain,
      node: ask.node,
      bootId: ask.bootId,
      requestId: ask.requestId,
      ...parts,
      ttlMs: this.#ttlMs(chain, parts.unlimited),
      grantedAtMs: this.#state.nowMs,
      spent: NO_AMOUNTS,
      status: "open",
      knownSinceMs: env.monoMs,
    };
    this.#accounts.charge(lease, { reserved: lease.amount });
    this.#state.putLease(lease);
    this.ends.granted(lease);
    return this.#grantOf(lease, env);
  }

  /** Takes in what a node spent. Repeated and overtaken reports change nothing. */
  settle(ask: SettleAsk, env: LedgerEnv): Settled | LedgerRefusal {
    this.roll(env);
    const lease = this.#state.lease(ask.leaseId);
    if (!lease || lease.node !== ask.node || lease.epoch !== ask.epoch) {
      return refusal("lease_unknown", `${ask.leaseId} of ${ask.node}`);
    }
    const above = LEDGER_UNITS.find((unit) => ask.spent[unit] > lease.amount[unit]);
    if (above) return refusal("settle_above_lease", `${ask.spent[above]} ${above}`);
    const account = lease.chain[0] as string;
    const agent = this.#agentOf(account);
    if (ask.isPlaced?.(agent) === false) {
      return refusal("not_placed", `${agent} is not placed on ${ask.node}`);
    }
    if (lease.status === "final") return { account, spent: lease.spent, final: true };
    const before = lease.spent;
    const spent = eachUnit((unit) => Math.max(before[unit], ask.spent[unit]));
    const wasOpen = lease.status === "open";
    const rest = eachUnit((unit) => lease.amount[unit] - spent[unit]);
    if (wasOpen) {
      const newly = eachUnit((unit) => spent[unit] - before[unit]);
      const ended = ask.final ? eachUnit((unit) => newly[unit] + rest[unit]) : newly;
      this.#accounts.charge(lease, { reserved: negative(ended), spent: newly });
    } else if (ask.final) {
      this.#accounts.charge(lease, { spent: negative(rest) });
    }
    lease.spent = spent;
    if (ask.final) {
      lease.status = "final";
      this.ends.settled(lease, env.monoMs);
    } else if (ask.keep !== undefined) this.#shrink(lease, ask.spent, ask.keep);
    this.#state.putLease(lease);
    return { account, spent, final: ask.final };
  }

  /** Whose account it is: a contract's is its holder's. */
  #agentOf(account: string): string {
    if (!account.startsWith("contract/")) return account;
    const contract = this.contracts.get(account.slice("contract/".length));
    return contract === undefined ? account : `agent/${contract.agent}`;
  }

  /**
   * Takes back what a node will never spend of a lease that is not final. By what this report says, not
   * by the latest: reports that overtake one another then end at the smallest amount of them all.
   */
  #shrink(lease: Lease, told: LedgerAmounts, keep: LedgerAmounts): void {
    const amount = eachUnit((unit) =>
      Math.max(lease.spent[unit], Math.min(lease.amount[unit], told[unit] + keep[unit])),
    );
    const back = eachUnit((unit) => amount[unit] - lease.amount[unit]);
    this.#accounts.charge(lease, lease.status === "open" ? { reserved: back } : { spent: back });
    lease.amount = amount;
  }

  /** Moves on to `env.nowMs`: ends windows, expires leases, forgets what nothing depends on. */
  roll(env: LedgerEnv): void {
    this.#state.advance(env.nowMs);
    this.contracts.isFull = env.isFull;
    // Late is safe here, and many turns happen in between.
    if (env.monoMs < this.#nextSweepMs) return;
    this.#nextSweepMs = env.monoMs + SWEEP_EVERY_MS;
    this.ends.roll(env);
    this.contracts.roll();
  }

  /** Every row of an account, or of all, in the windows that hold the last turn's time. */
  rows(account?: string): readonly LedgerRow[] {
    return this.#accounts.rows(account);
  }

  /** Leases that nodes may still be spending from, or have not accounted for. */
  openLeases(): readonly Lease[] {
    return [...this.#state.leases()].filter((lease) => lease.status !== "final");
  }

  #divide(
    chain: readonly string[],
    ask: LeaseAsk,
    env: LedgerEnv,
  ): { amount: LedgerAmounts; unlimited: readonly LedgerUnit[] } | LedgerRefusal {
    const amount = { ...NO_AMOUNTS };
    const unlimited: LedgerUnit[] = [];
    for (const unit of LEDGER_UNITS) {
      const tightest = this.#accounts.tightest(chain, unit);
      if (!tightest) {
        unlimited.push(unit);
        continue;
      }
      const slice = sliceOf({
        available: tightest.available,
        need: ask.need[unit],
        want: ask.want[unit],
        activeNodes: env.activeNodes,
        bounds: this.#settings.slices[unit],
      });
      if (slice === undefined) {
        const { account, window, available } = tightest;
        const refused = account === OVERRUN_ACCOUNT ? "overrun_exhausted" : "budget_exhausted";
        const left = Math.max(0, available);
        const message = `${account} has ${left} ${unit} left in ${window}`;
        return {
          refused,
          message,
          available: this.#accounts.available(chain, ask.need),
          shortfall: { account, window, unit, endsAtMs: this.#endOf(window) },
        };
      }
      amount[unit] = slice;
    }
    return { amount, unlimited };
  }

  #endOf(window: string): number {
    const kind = kindOfWindow(window);
    return kind === undefined ? 0 : windowEndMs(kind, this.#state.nowMs);
  }

  /** A lease ends with the first of its windows that has a limit. */
  #ttlMs(chain: readonly string[], unlimited: readonly LedgerUnit[]): number {
    const { nowMs } = this.#state;
    let endMs = Math.min(
      nowMs + this.#settings.leaseTtlMs,
      ...chain.map((account) => this.contracts.endMs(account)),
    );
    for (const unit of LEDGER_UNITS) {
      if (unlimited.includes(unit)) continue;
      for (const account of this.#accounts.limited(chain)) {
        for (const kind of WINDOW_KINDS) {
          if (this.#accounts.limitAt(account, unit, windowAt(kind, nowMs)) === undefined) continue;
          endMs = Math.min(endMs, windowEndMs(kind, nowMs));
        }
      }
    }
    return endMs - nowMs;
  }

  /** A repetition is granted what is left of the time, or the node would outlive the window. */
  #grantOf(lease: Lease, env: LedgerEnv): LeaseGrant {
    const leftMs = Math.min(
      lease.ttlMs - (env.monoMs - lease.knownSinceMs),
      lease.grantedAtMs + lease.ttlMs - this.#state.nowMs,
    );
    return {
      leaseId: lease.id,
      epoch: lease.epoch,
      account: lease.chain[0] as string,
      amount: lease.amount,
      ttlMs: lease.status === "open" ? Math.max(0, Math.floor(leftMs)) : 0,
      unlimited: lease.unlimited,
    };
  }
}

function refusal(refused: LedgerRefusalReason, message: string): LedgerRefusal {
  return { refused, message };
}
