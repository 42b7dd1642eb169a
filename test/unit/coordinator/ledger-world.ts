import type { AccountLimits } from "../../../coordinator/account-limits.ts";
import { type LeaseGrant, Ledger, type LedgerEnv } from "../../../coordinator/ledger.ts";
import type { LedgerSettings } from "../../../coordinator/ledger-settings.ts";
import { LedgerState } from "../../../coordinator/ledger-state.ts";
import type { LedgerAmounts } from "../../../coordinator/ledger-window.ts";

export const SETTINGS: LedgerSettings = {
  slices: {
    usd_micros: { min: 100, max: 1_000 },
    tokens: { min: 10, max: 10_000 },
    calls: { min: 1, max: 50 },
  },
  leaseTtlMs: 300_000,
  driftMilli: 10,
  expiryGuardMs: 2_000,
  memoMs: { max: 600_000, min: 60_000 },
  leasesRemembered: 500,
  unsettledMax: 500,
  leasesMax: 1_000,
};

/** 22 November 2026, 09:30 UTC. */
export const START_MS = Date.UTC(2026, 10, 22, 9, 30);

export const amountsOf = (some: Partial<LedgerAmounts>): LedgerAmounts => ({
  usd_micros: 0,
  tokens: 0,
  calls: 0,
  ...some,
});

/** A ledger with a clock to turn by hand and a store that survives `restart`. */
export class LedgerWorld {
  ledger: Ledger;
  state: LedgerState;
  limits: AccountLimits;
  nowMs = START_MS;
  monoMs = 1_000;
  epoch = 1;
  activeNodes = 2;
  readonly removed = new Set<string>();
  readonly settings: LedgerSettings;
  readonly stored = new Map<string, Uint8Array>();
  #leaseNo = 0;
  #requestNo = 0;

  constructor(limits: AccountLimits, settings: Partial<LedgerSettings> = {}) {
    this.settings = { ...SETTINGS, ...settings };
    this.limits = limits;
    this.state = LedgerState.load([], this.monoMs);
    this.ledger = this.#open();
  }

  env(): LedgerEnv {
    const { nowMs, monoMs, epoch, activeNodes, removed } = this;
    return {
      ...{ nowMs, monoMs, epoch, activeNodes, isFull: false },
      isRemoved: (node) => removed.has(node),
    };
  }

  setLimits(limits: AccountLimits): void {
    this.limits = limits;
    this.ledger.setLimits(limits);
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.monoMs += ms;
  }

  lease(
    account: string,
    need: Partial<LedgerAmounts>,
    more: {
      want?: Partial<LedgerAmounts>;
      node?: string;
      requestId?: string;
      bootId?: string;
    } = {},
  ): ReturnType<Ledger["lease"]> {
    this.#leaseNo += 1;
    this.#requestNo += 1;
    return this.ledger.lease(
      {
        node: more.node ?? "n1",
        bootId: more.bootId ?? "b1",
        requestId: more.requestId ?? `r${this.#requestNo}`,
        account,
        need: amountsOf(need),
        want: amountsOf(more.want ?? need),
        leaseId: `l${this.#leaseNo}`,
      },
      this.env(),
    );
  }

  granted(...args: Parameters<LedgerWorld["lease"]>): LeaseGrant {
    const answer = this.lease(...args);
    if ("refused" in answer) throw new Error(`${answer.refused}: ${answer.message}`);
    return answer;
  }

  settle(
    grant: LeaseGrant,
    spent: Partial<LedgerAmounts>,
    more: {
      final?: boolean;
      node?: string;
      epoch?: number;
      keep?: Partial<LedgerAmounts>;
    } = {},
  ) {
    return this.ledger.settle(
      {
        node: more.node ?? "n1",
        leaseId: grant.leaseId,
        epoch: more.epoch ?? grant.epoch,
        spent: amountsOf(spent),
        final: more.final ?? false,
        keep: more.keep && amountsOf(more.keep),
      },
      this.env(),
    );
  }

  row(account: string, unit: keyof LedgerAmounts, window: string) {
    const row = this.ledger
      .rows(account)
      .find((each) => each.unit === unit && each.window === window);
    if (!row) throw new Error(`no row ${account} ${unit} ${window}`);
    const { limit, available, reserved, spent, children } = row;
    return { limit, available, reserved, spent, children };
  }

  /** Writes what is due, then begins anew from the store alone, as after a crash. */
  restart(): void {
    this.flush();
    this.epoch += 1;
    this.state = LedgerState.load([...this.stored], this.monoMs);
    this.ledger = this.#open();
  }

  flush(): void {
    for (const { key, value } of this.state.takeWrites()) {
      if (value === undefined) this.stored.delete(key);
      else this.stored.set(key, value);
    }
  }

  #open(): Ledger {
    const ledger = new Ledger(this.settings, this.state);
    ledger.setLimits(this.limits);
    return ledger;
  }
}
