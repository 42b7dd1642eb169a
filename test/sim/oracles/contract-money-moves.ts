import type { ContractAccount } from "../../../coordinator/contract-account.ts";
import { LEDGER_UNITS, type LedgerUnit } from "../../../coordinator/ledger-window.ts";
import type { LeaseJournal } from "../lease-journal.ts";
import type { Oracle } from "./oracle.ts";

export const contractMoneyMoves: Oracle = {
  name: "contract-money-moves",
  rule: "In every commit of the ledger, what a contract's leases take and what was carved from it and has not come back is within its grant; what its row says of its children is what they were granted, less what came back, which is at most what they did not use (C1, C2); and once all is at rest whatever has ended has come back, all of it.",
  watch: ({ plane }) => {
    const { journal } = plane;
    const isTouched = { now: false };
    return {
      on: (event) => {
        if (event.t === "contract" || event.t === "lease") isTouched.now = true;
        if (event.t !== "written" || !isTouched.now) return undefined;
        isTouched.now = false;
        for (const account of journal.contracts.values()) {
          const wrong = LEDGER_UNITS.map((unit) => flawOf(journal, account, unit)).find(Boolean);
          if (wrong !== undefined) return wrong;
        }
        return undefined;
      },
      atEnd: () => {
        const trust = plane.founder.parts?.replica.state;
        for (const { id, state } of journal.contracts.values()) {
          const isRevoked = journal.chainOf(id).some((of) => trust?.killed(`contract/${of.id}`));
          if (isRevoked && state === "open") return `${id} is revoked, and open in the ledger`;
          if (state === "revoked" || state === "ended") return `${id} is ${state}, and still out`;
          for (const unit of LEDGER_UNITS) {
            const { least } = ofChildren(journal, id, unit);
            const { children } = journal.row(id, unit);
            if (children !== least)
              return `${id} lacks ${children - least} ${unit} of its children`;
          }
        }
        return undefined;
      },
    };
  },
};

function flawOf(
  journal: LeaseJournal,
  { id, limit }: ContractAccount,
  unit: LedgerUnit,
): string | undefined {
  const row = journal.row(id, unit);
  const taken = row.reserved + row.spent + row.children;
  if (taken > limit[unit]) return `${id} has ${taken} of ${limit[unit]} ${unit} taken`;
  let leases = 0;
  for (const { chain, status, spent, amount } of journal.leases.values()) {
    if (chain[0] !== `contract/${id}`) continue;
    leases += (status === "final" ? spent : amount)[unit];
  }
  if (leases > row.reserved + row.spent) {
    return `${id} has leases of ${leases} ${unit}, and says ${row.reserved + row.spent}`;
  }
  const { least, most } = ofChildren(journal, id, unit);
  if (row.children >= least && row.children <= most) return undefined;
  return `${id} says ${row.children} ${unit} for children that have ${least} to ${most}`;
}

function ofChildren(journal: LeaseJournal, id: string, unit: LedgerUnit) {
  const below = [...journal.contracts.values()].filter(({ parent }) => parent === id);
  const least = below.reduce((sum, child) => sum + outOf(journal, child, unit), 0);
  const most = below.reduce((sum, child) => sum + child.limit[unit], 0);
  return { least, most };
}

/** What a child has of its parent's money: its whole grant, or once that has come back, what it used or may use. */
function outOf(journal: LeaseJournal, child: ContractAccount, unit: LedgerUnit): number {
  if (child.state !== "released") return child.limit[unit];
  const { reserved, spent, children } = journal.row(child.id, unit);
  return reserved + spent + children;
}
