import type { Oracle } from "./oracle.ts";

const FOR_MONEY = new Set(["budget_exhausted", "overrun_exhausted", "budget_unavailable"]);

export const noPhantomDenial: Oracle = {
  name: "no-phantom-denial",
  rule: "Once all faults are over, nobody is refused for money that the ledger could still lend.",
  watch: () => ({
    on: (event) => {
      if (event.t !== "probed" || !FOR_MONEY.has(event.reason)) return undefined;
      if (event.availableMicros < event.costMicros) return undefined;
      const { node, agentId, reason, availableMicros, costMicros } = event;
      return `${agentId} was refused ${reason} on ${node} with ${availableMicros} left for ${costMicros}`;
    },
  }),
};
