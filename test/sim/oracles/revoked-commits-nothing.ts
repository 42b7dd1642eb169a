import type { Oracle } from "./oracle.ts";

export const revokedCommitsNothing: Oracle = {
  name: "revoked-commits-nothing",
  rule: "From when a node has acknowledged that a contract is revoked it allows nothing under it or what was delegated from it; and from when the ledger has it as revoked or ended, it lends to none of them and carves from none.",
  watch: ({ plane }) => {
    const { journal } = plane;
    /** Revoked contracts, by start of a node. */
    const acked = new Map<string, Set<string>>();
    /** Not open any more, in the commits before this one. */
    let closed = new Set<string>();
    const ofClosed = (contractId: string | undefined): string | undefined =>
      journal.chainOf(contractId).find(({ id }) => closed.has(id))?.id;
    return {
      on: (event) => {
        if (event.t === "acked" && event.isKill && event.scope.startsWith("contract/")) {
          const known = acked.get(event.bootId) ?? new Set<string>();
          acked.set(event.bootId, known.add(event.scope.slice("contract/".length)));
        }
        if (event.t === "decided" && event.record.ph === "request" && event.record.dec !== "deny") {
          const { c, rid } = event.record;
          const known = acked.get(event.bootId);
          const over = journal.chainOf(c?.id).find(({ id }) => known?.has(id));
          if (over)
            return `${event.node} allowed ${rid} after it acknowledged that ${over.id} is revoked`;
        }
        if (event.t === "lease" && event.before === undefined) {
          const [account = ""] = event.after.chain;
          const over = account.startsWith("contract/") ? ofClosed(account.slice(9)) : undefined;
          if (over !== undefined)
            return `${event.after.id} is lent to ${account} after ${over} was over`;
        }
        if (event.t === "contract" && event.before === undefined) {
          const over = ofClosed(event.after.parent);
          if (over !== undefined) return `${event.after.id} is carved after ${over} was over`;
        }
        if (event.t !== "written") return undefined;
        const over = [...journal.contracts.values()].filter(({ state }) => state !== "open");
        closed = new Set(over.map(({ id }) => id));
        return undefined;
      },
    };
  },
};
