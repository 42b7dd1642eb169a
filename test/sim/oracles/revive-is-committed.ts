import type { Oracle } from "./oracle.ts";

export const reviveIsCommitted: Oracle = {
  name: "revive-is-committed",
  rule: "A revive is in force nowhere before the stream holds it (K6).",
  watch: () => {
    const committed = new Set<string>();
    return {
      on: (event) => {
        if (event.t === "committed") committed.add(event.record.hashHex);
        if (event.t !== "enforced" || event.record.op.case !== "revive") return undefined;
        const { scope, v, hashHex } = event.record;
        if (committed.has(hashHex)) return undefined;
        return `${event.node} has the revive of ${scope} at version ${v}, which nobody committed`;
      },
    };
  },
};
