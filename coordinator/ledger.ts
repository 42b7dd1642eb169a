// The mesh's money: who may spend how much until when, lent to nodes in leases.
//
// Pure: time, ids and settings come in, state changes are collected for the store, nothing is awaited.
//
// I1. In every window of an account the charges of its leases never exceed the limit that stood at
//     the grant. A lease charges its amount in full until it is final, then what was spent.
// I2. What nodes spent is at most what is charged.
// I4. A grant is told only after the writes collected with it are on disk (the actor's part).
// I5. One lease at most for one (node, boot, request).
// I7. A lease expires here only after its node's own deadline, however far clocks drift within rho.
// I8. `spent` of a lease never falls, `final` stays, and a refund happens once.
// L1. limit = available + reserved + spent + children in every row after every change.
// L2. The ledger's wall clock never goes back, so that a window which ended is never lent from again.

import type { AccountEntry, AccountLimits } from "./account-limits.ts";
import { eachUnit, negative } from "./ledger-amounts.ts";
import { LedgerContracts } from "./ledger-contracts.ts";
import type { Lease } from "./ledger-lease.ts";
import { memoKey } from "./ledger-lease.ts";
import { emptyRow, type LedgerRow, moveInRow, setLimit } from "./ledger-row.ts";
import { type SliceBounds, sliceOf } from "./ledger-slice.ts";
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

export type LedgerSettings = {
  readonly slices: { readonly [U in LedgerUnit]: SliceBounds };
  /** Longest lease. */
  readonly leaseTtlMs: number;
  /** How much slower a node's clock may run, thousandths. */
  readonly driftMilli: number;
  /** Added before a lease counts as expired here. */
  readonly expiryGuardMs: number;
  /** How long a request is remembered after its grant; at least twice the longest lease. */
  readonly memoMs: number;
  /** Leases kept at once; beyond it nothing is lent. */
  readonly leasesMax: number;
};

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
};

export type LeaseAsk = {
  readonly node: string;
  readonly bootId: string;
  readonly requestId: string;
  readonly account: string;
  readonly need: LedgerAmounts;
  readonly want: LedgerAmounts;
  /** Id of the lease if it is granted. */
  readonly leaseId: string;
};

export type SettleAsk = {
  readonly node: string;
  readonly leaseId: string;
  readonly epoch: number;
  /** Cumulative. */
  readonly spent: LedgerAmounts;
  readonly final: boolean;
};

export type LedgerRefusalReason =
  /** Policy knows no such account. */
  | "account_unknown"
  | "budget_exhausted"
  | "overrun_exhausted"
  /** `leasesMax` leases are kept. */
  | "budget_unavailable"
  /** No such lease of that node. */
  | "lease_unknown"
  /** A node that reports more than it was lent is broken or lies; the lease stays charged in full. */
  | "settle_above_lease";

export type LedgerRefusal = {
  readonly refused: LedgerRefusalReason;
  /** For whoever runs the mesh. */
  readonly message: string;
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
/** An account, its team, the mesh, and one to spare. Deeper is a cycle. */
const CHAIN_MAX = 4;
const SWEEP_EVERY_MS = 250;

export class Ledger {
  readonly #settings: LedgerSettings;
  readonly #state: LedgerState;
  readonly #entries = new Map<string, AccountEntry>();
  /** Delegation: the accounts of contracts, which policy does not list. */
  readonly contracts: LedgerContracts;
  #nextSweepMs = 0;

  constructor(settings: LedgerSettings, state: LedgerState) {
    this.#settings = settings;
    this.#state = state;
    this.contracts = new LedgerContracts(state);
  }

  /** Takes over what policy says now. What is taken from accounts stays taken. */
  setLimits(limits: AccountLimits): void {
    this.#entries.clear();
    for (const entry of limits) this.#entries.set(entry.account, entry);
    for (const row of this.#state.rows()) setLimit(row, this.#limitOf(row));
  }

  /**
   * Takes over an operator's limit of one window, which stands over policy until the window ends.
   *
   * @returns False when that window has ended, or a newer record spoke of it already.
   */
  override(account: string, unit: LedgerUnit, override: LimitOverride, env: LedgerEnv): boolean {
    this.roll(env);
    const kind = kindOfWindow(override.window);
    if (!kind || override.window < windowAt(kind, this.#state.nowMs)) return false;
    if (!this.#state.putOverride(account, unit, override)) return false;
    const row = this.#state.row(account, unit, override.window);
    if (row) setLimit(row, override.limit);
    return true;
  }

  /** Grants a lease, or says why not. The same request gets the same lease. */
  lease(ask: LeaseAsk, env: LedgerEnv): LeaseGrant | LedgerRefusal {
    this.roll(env);
    const known = this.#state.leaseOf(memoKey(ask));
    if (known) return this.#grantOf(known, env);
    const chain = this.#chainOf(ask.account, ask.node);
    if (!chain) return refusal("account_unknown", `no policy for ${ask.account}`);
    if (this.#state.leaseCount >= this.#settings.leasesMax) {
      return refusal("budget_unavailable", `${this.#settings.leasesMax} leases are kept`);
    }
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
    this.#charge(lease, { reserved: lease.amount });
    this.#state.putLease(lease);
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
    if (lease.status === "final") return { account, spent: lease.spent, final: true };
    const before = lease.spent;
    const spent = eachUnit((unit) => Math.max(before[unit], ask.spent[unit]));
    const wasOpen = lease.status === "open";
    const rest = eachUnit((unit) => lease.amount[unit] - spent[unit]);
    if (wasOpen) {
      const newly = eachUnit((unit) => spent[unit] - before[unit]);
      this.#charge(lease, { reserved: negative(newly), spent: newly });
      if (ask.final) this.#charge(lease, { reserved: negative(rest) });
    } else if (ask.final) {
      this.#charge(lease, { spent: negative(rest) });
    }
    lease.spent = spent;
    if (ask.final) lease.status = "final";
    this.#state.putLease(lease);
    return { account, spent, final: ask.final };
  }

  /** Moves on to `env.nowMs`: ends windows, expires leases, forgets what nothing depends on. */
  roll(env: LedgerEnv): void {
    this.#state.advance(env.nowMs);
    // Late is safe here and looking at every lease in every turn is not cheap.
    if (env.monoMs < this.#nextSweepMs) return;
    this.#nextSweepMs = env.monoMs + SWEEP_EVERY_MS;
    for (const lease of this.#state.leases()) {
      if (lease.status === "open" && env.monoMs >= this.#expiresAtMs(lease)) this.#expire(lease);
      const isRemembered = env.monoMs < lease.knownSinceMs + this.#settings.memoMs;
      if (lease.status === "final" && !isRemembered) this.#state.dropLease(lease.id);
    }
    this.contracts.roll();
  }

  /** Every row of an account, or of all, in the windows that hold the last turn's time. */
  rows(account?: string): readonly LedgerRow[] {
    const names = new Set([...this.#entries.keys(), ...this.#state.accounts()]);
    const wanted = account === undefined ? [...names].sort() : [account];
    return wanted.flatMap((name) =>
      LEDGER_UNITS.flatMap((unit) =>
        WINDOW_KINDS.flatMap((kind) => {
          const window = windowAt(kind, this.#state.nowMs);
          const row = this.#state.row(name, unit, window);
          const shown = row ?? emptyRow(name, unit, window, this.#limitAt(name, unit, window));
          return shown.limit === undefined ? [] : [{ ...shown }];
        }),
      ),
    );
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
      const tightest = this.#tightest(chain, unit);
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
        const reason = account === OVERRUN_ACCOUNT ? "overrun_exhausted" : "budget_exhausted";
        const left = Math.max(0, available);
        return refusal(reason, `${account} has ${left} ${unit} left in ${window}`);
      }
      amount[unit] = slice;
    }
    return { amount, unlimited };
  }

  /** The limited row with the least available; `undefined` when no row of the unit is limited. */
  #tightest(chain: readonly string[], unit: LedgerUnit): LedgerRow | undefined {
    let tightest: LedgerRow | undefined;
    for (const account of chain) {
      for (const kind of WINDOW_KINDS) {
        const row = this.#rowNow(account, unit, windowAt(kind, this.#state.nowMs));
        if (row.limit === undefined) continue;
        if (!tightest || row.available < tightest.available) tightest = row;
      }
    }
    return tightest;
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
      for (const account of chain) {
        for (const kind of WINDOW_KINDS) {
          if (this.#limitAt(account, unit, windowAt(kind, nowMs)) === undefined) continue;
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

  #expiresAtMs(lease: Lease): number {
    const { driftMilli, expiryGuardMs } = this.#settings;
    return lease.knownSinceMs + (lease.ttlMs * (1000 + driftMilli)) / 1000 + expiryGuardMs;
  }

  #expire(lease: Lease): void {
    const unknown = eachUnit((unit) => lease.amount[unit] - lease.spent[unit]);
    this.#charge(lease, { reserved: negative(unknown), spent: unknown });
    lease.status = "expired";
    this.#state.putLease(lease);
  }

  /** Applies a change to every row that pays for the lease and whose window has not ended. */
  #charge(
    lease: Lease,
    change: { readonly reserved?: LedgerAmounts; readonly spent?: LedgerAmounts },
  ): void {
    for (const unit of LEDGER_UNITS) {
      const reserved = change.reserved?.[unit] ?? 0;
      const spent = change.spent?.[unit] ?? 0;
      if (reserved === 0 && spent === 0) continue;
      for (const [depth, account] of lease.chain.entries()) {
        const moved = depth === 0 ? { reserved, spent } : { children: reserved + spent };
        for (const kind of WINDOW_KINDS) {
          const window = windowAt(kind, lease.grantedAtMs);
          if (window !== windowAt(kind, this.#state.nowMs)) continue;
          const row = this.#rowNow(account, unit, window);
          moveInRow(row, moved);
          this.#state.putRow(row);
        }
      }
    }
  }

  #rowNow(account: string, unit: LedgerUnit, window: string): LedgerRow {
    return (
      this.#state.row(account, unit, window) ??
      emptyRow(account, unit, window, this.#limitAt(account, unit, window))
    );
  }

  #limitOf(row: LedgerRow): number | undefined {
    return this.#limitAt(row.account, row.unit, row.window);
  }

  #limitAt(account: string, unit: LedgerUnit, window: string): number | undefined {
    const override = this.#state.overrideOf(account, unit, window);
    if (override !== undefined) return override;
    const kind = kindOfWindow(window);
    const granted = kind === "total" ? this.contracts.limit(account, unit) : undefined;
    if (granted !== undefined) return granted;
    const limits = this.#entries
      .get(account)
      ?.limits.filter((limit) => limit.unit === unit && limit.window === kind);
    // Two limits of one window are both meant: the smaller one stands.
    return limits?.length ? Math.min(...limits.map(({ limit }) => limit)) : undefined;
  }

  #chainOf(account: string, node: string): readonly string[] | undefined {
    const chain: string[] = [];
    for (let name: string | undefined = account; name !== undefined; ) {
      const entry: AccountEntry | undefined =
        this.#entries.get(name) ?? this.contracts.entry(name, node);
      if (!entry || chain.length >= CHAIN_MAX) return undefined;
      chain.push(name);
      name = entry.parent;
    }
    return chain;
  }
}

function refusal(refused: LedgerRefusalReason, message: string): LedgerRefusal {
  return { refused, message };
}
