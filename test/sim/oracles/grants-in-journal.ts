import type { JournalLease } from "../sim-event.ts";
import type { Oracle } from "./oracle.ts";

/** A node says what it gives back once its disk may have taken it, which it knows itself only later. */
const GIVING_BACK_MS = 20_000;

export const grantsInJournal: Oracle = {
  name: "grants-in-journal",
  rule: "Every lease that a node lends from is on the ledger's disk, made out to that start of that node, and charged at least what was lent from it (I4).",
  watch: ({ nodes, plane, time }) => {
    /** What a lease was charged until lately. */
    const before = new Map<string, { readonly micros: number; readonly atMs: number }>();
    const chargedMicros = ({ id, amount }: JournalLease): number => {
      const { micros = 0, atMs = 0 } = before.get(id) ?? {};
      return time.nowMs - atMs <= GIVING_BACK_MS
        ? Math.max(micros, amount.usd_micros)
        : amount.usd_micros;
    };
    return {
      on: (event) => {
        if (event.t !== "lease" || event.before === undefined) return undefined;
        const micros = event.before.amount.usd_micros;
        if (micros > event.after.amount.usd_micros)
          before.set(event.after.id, { micros, atMs: time.nowMs });
        return undefined;
      },
      look: () => {
        for (const { name, run } of nodes) {
          const { actors } = run?.control ?? {};
          for (const account of actors?.accounts.keys() ?? []) {
            for (const { id, amount, lent, spent } of actors?.view(account)?.state.book.leases ??
              []) {
              const granted = plane.journal.leases.get(id);
              if (granted === undefined) return `${name} holds ${id}, which was never granted`;
              if (granted.node !== name || granted.bootId !== run?.bootId) {
                return `${name} holds ${id} of ${granted.node} ${granted.bootId}`;
              }
              if (granted.chain[0] !== account) return `${account} holds ${id} of another account`;
              const charged = BigInt(chargedMicros(granted));
              if (lent.usdMicros > charged) return `${id} lent ${lent.usdMicros} of ${charged}`;
              if (spent.usdMicros > lent.usdMicros || lent.usdMicros > amount.usdMicros) {
                return `B1: ${id} spent ${spent.usdMicros}, lent ${lent.usdMicros} of ${amount.usdMicros}`;
              }
            }
          }
        }
        return undefined;
      },
    };
  },
};
