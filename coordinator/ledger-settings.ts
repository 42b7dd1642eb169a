import type { SliceBounds } from "./ledger-slice.ts";
import type { LedgerUnit } from "./ledger-window.ts";

export type LedgerSettings = {
  readonly slices: { readonly [U in LedgerUnit]: SliceBounds };
  /** Longest lease. */
  readonly leaseTtlMs: number;
  /** How much slower a node's clock may run, thousandths. */
  readonly driftMilli: number;
  /** Added before a lease counts as expired here. */
  readonly expiryGuardMs: number;
  /** How long a lease is remembered after its grant, at most and at least; one that is not settled, until it is. */
  readonly memoMs: { readonly max: number; readonly min: number };
  /** While more leases are kept, one that is settled is remembered no longer than it must be. */
  readonly leasesRemembered: number;
  /** Leases that ran out and are kept until their nodes settle them; beyond it those with most lose their oldest as spent. */
  readonly unsettledMax: number;
  /** Leases kept at once; beyond it nothing is lent. */
  readonly leasesMax: number;
};

/** How many leases the ledger keeps. */
export const LEASE_LIMITS = {
  leasesRemembered: 50_000,
  unsettledMax: 50_000,
  leasesMax: 1_000_000,
} as const;
