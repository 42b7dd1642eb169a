import type { Cost, Standing } from "../decision/facts.ts";
import {
  balance,
  lend,
  lendOverrun,
  overrunBalance,
  takeBack,
  takeBackOverrun,
} from "../table/lend.ts";
import { setOverrunRefusalNo, setRefusalNo } from "../table/refusal-no.ts";
import { controlPinner, pin, type RowRef, unpin } from "../table/rows.ts";
import { setStanding, setUnlimitedUnits, UNIT } from "../table/standing.ts";
import type { Table } from "../table/table.ts";
import { NOTHING } from "./account-book.ts";

/** Where one account's lent money lies while requests may spend it, and the flags beside it. */
export type Till = {
  /** What lies unheld in it. */
  balance(): Cost;
  /** False: there is no till to lend to by now; nothing was lent. */
  lend(amount: Cost): boolean;
  /** Empties it. */
  takeBack(): Cost;
  setUnlimited(units: Cost): void;
  /** Which no of the ledger loops may repeat from now on; 0: none. */
  setRefusal(no: number): void;
  setStanding(standing: Exclude<Standing, "kill">): void;
};

/** The till of one agent: the row that serves it, if there is one now. */
export function rowTill(table: Table, rowOf: () => RowRef | undefined): Till {
  const pinner = controlPinner(table);
  const under = <T>(gone: T, act: (row: number) => T): T => {
    const ref = rowOf();
    if (ref === undefined || !pin(table, pinner, ref)) return gone;
    try {
      return act(ref.row);
    } finally {
      unpin(table, pinner, ref.row);
    }
  };
  return {
    balance: () => under(NOTHING, (row) => balance(table, row)),
    lend: (amount) =>
      under(false, (row) => {
        lend(table, row, amount);
        return true;
      }),
    takeBack: () => under(NOTHING, (row) => takeBack(table, row)),
    setUnlimited: (units) => under(undefined, (row) => setUnlimitedUnits(table, row, bits(units))),
    setRefusal: (no) => under(undefined, (row) => setRefusalNo(table, row, no)),
    setStanding: (standing) => under(undefined, (row) => setStanding(table, row, standing)),
  };
}

/** The till of the node's share of the overrun account: one cell for all agents. */
export function overrunTill(table: Table): Till {
  return {
    balance: () => ({ ...NOTHING, usdMicros: overrunBalance(table) }),
    lend: (amount) => {
      lendOverrun(table, amount.usdMicros);
      return true;
    },
    takeBack: () => ({ ...NOTHING, usdMicros: takeBackOverrun(table) }),
    // The overrun account always has a limit; without one nothing could be lent from it.
    setUnlimited: () => undefined,
    setRefusal: (no) => setOverrunRefusalNo(table, no),
    setStanding: () => undefined,
  };
}

function bits(units: Cost): number {
  return (
    (units.usdMicros > 0n ? UNIT.usd : 0) |
    (units.tokens > 0n ? UNIT.tokens : 0) |
    (units.calls > 0n ? UNIT.calls : 0)
  );
}
