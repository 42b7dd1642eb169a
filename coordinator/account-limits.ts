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

const NAMES = new WeakMap<AccountLimits, readonly string[]>();

/** Their accounts: the same list for the same limits, so that who has made something of it can tell. */
export function accountNamesOf(limits: AccountLimits): readonly string[] {
  const names = NAMES.get(limits) ?? limits.map(({ account }) => account);
  NAMES.set(limits, names);
  return names;
}
