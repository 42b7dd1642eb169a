import type { Oracle } from "./oracle.ts";

export const grantsInJournal: Oracle = {
  name: "grants-in-journal",
  rule: "Every lease that a node lends from is on the ledger's disk, made out to that start of that node, and charged at least what was lent from it (I4).",
  watch: ({ nodes, coordinator }) => ({
    look: () => {
      for (const { name, run } of nodes) {
        const { actors } = run?.control ?? {};
        for (const account of actors?.accounts() ?? []) {
          for (const { id, amount, lent, spent } of actors?.view(account)?.state.book.leases ??
            []) {
            const granted = coordinator.journal.leases.get(id);
            if (granted === undefined) return `${name} holds ${id}, which was never granted`;
            if (granted.node !== name || granted.bootId !== run?.bootId) {
              return `${name} holds ${id} of ${granted.node} ${granted.bootId}`;
            }
            if (granted.chain[0] !== account) return `${account} holds ${id} of another account`;
            const charged = BigInt(granted.amount.usd_micros);
            if (lent.usdMicros > charged) return `${id} lent ${lent.usdMicros} of ${charged}`;
            if (spent.usdMicros > lent.usdMicros || lent.usdMicros > amount.usdMicros) {
              return `B1: ${id} spent ${spent.usdMicros}, lent ${lent.usdMicros} of ${amount.usdMicros}`;
            }
          }
        }
      }
      return undefined;
    },
  }),
};
