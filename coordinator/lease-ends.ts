import { DueHeap } from "../mesh/due-heap.ts";
import type { LedgerEnv } from "./ledger.ts";
import type { LedgerAccounts } from "./ledger-accounts.ts";
import { eachUnit, negative } from "./ledger-amounts.ts";
import type { Lease } from "./ledger-lease.ts";
import type { LedgerSettings } from "./ledger-settings.ts";
import type { LedgerState } from "./ledger-state.ts";
import { type LedgerAmounts, NO_AMOUNTS } from "./ledger-window.ts";

/** Leases that ran out and that nobody will settle any more, by the node that had them. */
export type WrittenOff = {
  readonly node: string;
  readonly leases: number;
  /** What was not reported of them: it counts as spent from now on, whatever the node says. */
  readonly unknown: LedgerAmounts;
  /** `removed`: the node is none of the mesh any more. `many`: more were kept than may be. */
  readonly because: "removed" | "many";
};

/** Between two looks for nodes that were removed, ms. */
const REMOVED_EVERY_MS = 60_000;

/**
 * When leases run out, and when nothing of them is kept any more.
 *
 * One that is settled is forgotten once no repetition of its request is to be expected. One that ran out waits for
 * its node to say what it spent, which may be down for weeks: until the node is removed, or `unsettledMax` have run out
 * after it. What it did not say counts as spent already and goes on to; an operator may write it back as ever.
 */
export class LeaseEnds {
  readonly #settings: LedgerSettings;
  readonly #state: LedgerState;
  readonly #accounts: LedgerAccounts;
  /** One entry for each lease that is open or final. */
  readonly #due = new DueHeap();
  /** Those that ran out and are not settled, the first to run out first. */
  readonly #expired = new Set<string>();
  #writtenOff = new Map<string, WrittenOff>();
  #nextRemovedMs = 0;

  constructor(settings: LedgerSettings, state: LedgerState, accounts: LedgerAccounts) {
    this.#settings = settings;
    this.#state = state;
    this.#accounts = accounts;
    const expired: Lease[] = [];
    for (const lease of state.leases()) {
      if (lease.status === "expired") expired.push(lease);
      else this.granted(lease);
    }
    expired.sort((left, right) => left.grantedAtMs - right.grantedAtMs);
    for (const { id } of expired) this.#expired.add(id);
  }

  /** Leases that will be looked at. */
  get dueCount(): number {
    return this.#due.size;
  }

  granted(lease: Lease): void {
    this.#lookLater(lease, lease.knownSinceMs);
  }

  /** It became final. One that was open is looked at anyway. */
  settled(lease: Lease, monoMs: number): void {
    if (this.#expired.delete(lease.id)) this.#lookLater(lease, monoMs);
  }

  /** Expires leases, and forgets what nothing depends on. */
  roll(env: LedgerEnv): void {
    for (let id = this.#due.take(env.monoMs); id; id = this.#due.take(env.monoMs)) {
      const lease = this.#state.lease(id);
      if (lease) this.#look(lease, env);
    }
    if (env.monoMs >= this.#nextRemovedMs) {
      this.#nextRemovedMs = env.monoMs + REMOVED_EVERY_MS;
      this.#forgetRemoved(env);
    }
    for (const id of this.#expired) {
      if (this.#expired.size <= this.#settings.unsettledMax) break;
      this.#writeOff(id, "many");
    }
  }

  /** What was written off since this was last asked. */
  takeWrittenOff(): readonly WrittenOff[] {
    const taken = [...this.#writtenOff.values()];
    this.#writtenOff = new Map();
    return taken;
  }

  #look(lease: Lease, env: LedgerEnv): void {
    if (lease.status === "open" && env.monoMs >= this.#expiresAtMs(lease)) {
      this.#expire(lease);
      this.#expired.add(lease.id);
    } else if (lease.status === "final" && !this.#isRemembered(lease, env)) {
      this.#state.dropLease(lease.id);
    } else this.#lookLater(lease, env.monoMs);
  }

  /**
   * Every minute while it is final. While it is open after twice as long each time: it may be settled in between, and
   * most are only when they run out.
   */
  #lookLater(lease: Lease, fromMs: number): void {
    const { memoMs } = this.#settings;
    const { id, knownSinceMs } = lease;
    const isOpen = lease.status === "open";
    const lastMs = isOpen ? this.#expiresAtMs(lease) : knownSinceMs + memoMs.max;
    const pauseMs = isOpen ? Math.max(memoMs.min, fromMs - knownSinceMs) : memoMs.min;
    this.#due.add({ atMs: Math.min(fromMs + pauseMs, lastMs), id });
  }

  #isRemembered({ knownSinceMs }: Lease, { monoMs }: LedgerEnv): boolean {
    const { memoMs, leasesRemembered } = this.#settings;
    const isCrowded = this.#state.leaseCount > leasesRemembered;
    return monoMs < knownSinceMs + (isCrowded ? memoMs.min : memoMs.max);
  }

  #expiresAtMs(lease: Lease): number {
    const { driftMilli, expiryGuardMs } = this.#settings;
    return lease.knownSinceMs + (lease.ttlMs * (1000 + driftMilli)) / 1000 + expiryGuardMs;
  }

  #expire(lease: Lease): void {
    const unknown = unknownOf(lease);
    this.#accounts.charge(lease, { reserved: negative(unknown), spent: unknown });
    lease.status = "expired";
    this.#state.putLease(lease);
  }

  /** A lease of such a node that runs out later is found in a later turn: what it has is looked at first. */
  #forgetRemoved({ isRemoved }: LedgerEnv): void {
    const removed = new Set([...this.#state.nodes()].filter(isRemoved));
    if (removed.size === 0) return;
    for (const id of this.#expired) {
      if (removed.has(this.#state.lease(id)?.node ?? "")) this.#writeOff(id, "removed");
    }
    for (const node of removed) if (!this.#state.hasLeases(node)) this.#state.dropNode(node);
  }

  #writeOff(id: string, because: WrittenOff["because"]): void {
    const lease = this.#state.lease(id);
    this.#expired.delete(id);
    if (lease === undefined) return;
    const { node } = lease;
    const key = `${because} ${node}`;
    const before = this.#writtenOff.get(key) ?? { node, leases: 0, unknown: NO_AMOUNTS, because };
    const more = unknownOf(lease);
    this.#writtenOff.set(key, {
      ...before,
      leases: before.leases + 1,
      unknown: eachUnit((unit) => before.unknown[unit] + more[unit]),
    });
    this.#state.dropLease(id);
  }
}

function unknownOf({ amount, spent }: Lease): LedgerAmounts {
  return eachUnit((unit) => amount[unit] - spent[unit]);
}
