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
 * its node to say what it spent, which may be down for weeks: until the node is removed, or there are more than
 * `unsettledMax` and its node has more of them than others. What it did not say counts as spent already and goes on to;
 * an operator may write it back as ever.
 */
export class LeaseEnds {
  readonly #settings: LedgerSettings;
  readonly #state: LedgerState;
  readonly #accounts: LedgerAccounts;
  /** One entry for each lease that is open or final. */
  readonly #due = new DueHeap();
  /** Those that ran out and are not settled, by node, the first to run out first. */
  readonly #expired = new Map<string, Set<string>>();
  #expiredCount = 0;
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
    for (const lease of expired) this.#keepExpired(lease);
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
    if (this.#dropExpired(lease)) this.#lookLater(lease, monoMs);
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
    if (this.#expiredCount > this.#settings.unsettledMax) this.#makeRoom();
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
      this.#keepExpired(lease);
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
    const removed = [...this.#state.nodes()].filter(isRemoved);
    for (const node of removed) {
      for (const id of this.#expired.get(node) ?? []) this.#writeOff(id, "removed");
      if (!this.#state.hasLeases(node)) this.#state.dropNode(node);
    }
  }

  /** The oldest of the nodes that have most: whoever lets many run out costs nobody else what is unsettled. */
  #makeRoom(): void {
    const { unsettledMax } = this.#settings;
    const fullest = [...this.#expired.values()].sort((left, right) => right.size - left.size);
    const share = shareOf(fullest, unsettledMax);
    for (const ids of fullest) {
      for (const id of ids) {
        if (this.#expiredCount <= unsettledMax) return;
        if (ids.size <= share) break;
        this.#writeOff(id, "many");
      }
    }
  }

  #keepExpired({ node, id }: Lease): void {
    const ofNode = this.#expired.get(node) ?? new Set();
    this.#expired.set(node, ofNode.add(id));
    this.#expiredCount += 1;
  }

  /** False: it is none of them. */
  #dropExpired({ node, id }: Lease): boolean {
    const ofNode = this.#expired.get(node);
    if (!ofNode?.delete(id)) return false;
    if (ofNode.size === 0) this.#expired.delete(node);
    this.#expiredCount -= 1;
    return true;
  }

  #writeOff(id: string, because: WrittenOff["because"]): void {
    const lease = this.#state.lease(id);
    if (lease === undefined) return;
    this.#dropExpired(lease);
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

/** How many each may have where all of them together may have so many, and some have fewer. */
function shareOf(fullest: readonly ReadonlySet<string>[], most: number): number {
  let left = most;
  for (let count = fullest.length; count > 0; count -= 1) {
    const share = Math.floor(left / count);
    const { size } = fullest[count - 1] as ReadonlySet<string>;
    if (size > share) return share;
    left -= size;
  }
  return left;
}

function unknownOf({ amount, spent }: Lease): LedgerAmounts {
  return eachUnit((unit) => amount[unit] - spent[unit]);
}
