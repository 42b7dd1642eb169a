import type { LedgerUnit, WindowKind } from "./ledger-window.ts";

/** One limit of an account: so much of a unit in each window of that kind. */
export type WindowLimit = {
  readonly unit: LedgerUnit;
  readonly window: WindowKind;
  /** Micro-dollars, tokens or calls. Integer, >= 0. */
  readonly limit: number;
};

/** An account that policy knows. One that is not listed can borrow nothing. */
export type AccountEntry = {
  /** `team/<t>`, `agent/<t>/<a>`, `contract/<id>`, `overrun`, or `global` for the whole mesh. */
  readonly account: string;
  /** The account whose limits bound this one's too; an agent's is its team. */
  readonly parent: string | undefined;
  /** A unit without any limit here or above is not counted at all. */
  readonly limits: readonly WindowLimit[];
};

/** What policy lets be spent, as the ledger reads it. */
export type AccountLimits = readonly AccountEntry[];

/** The same by account, as the ledger looks them up. */
export type AccountIndex = {
  readonly names: readonly string[];
  readonly entries: ReadonlyMap<string, AccountEntry>;
  /** All limits of an account, where it is listed more than once. */
  readonly limits: ReadonlyMap<string, readonly WindowLimit[]>;
};

const INDEXES = new WeakMap<AccountLimits, AccountIndex>();

/** Makes the index; a step ends after each account, for a thread that may not be away for long. */
export function* indexAccounts(limits: AccountLimits): Generator<void, AccountIndex, void> {
  const names: string[] = [];
  const entries = new Map<string, AccountEntry>();
  const byAccount = new Map<string, readonly WindowLimit[]>();
  for (const entry of limits) {
    const { account } = entry;
    const known = byAccount.get(account);
    names.push(account);
    entries.set(account, entry);
    byAccount.set(account, known ? [...known, ...entry.limits] : entry.limits);
    yield;
  }
  const index = { names, entries, limits: byAccount };
  INDEXES.set(limits, index);
  return index;
}

/** Their index: the same for the same limits, and at hand where it was made before. */
export function accountIndexOf(limits: AccountLimits): AccountIndex {
  const known = INDEXES.get(limits);
  if (known !== undefined) return known;
  const steps = indexAccounts(limits);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** Their accounts: the same list for the same limits, so that who has made something of it can tell. */
export function accountNamesOf(limits: AccountLimits): readonly string[] {
  return accountIndexOf(limits).names;
}
