import type { Oracle } from "./oracle.ts";

export const versionsNeverFall: Oracle = {
  name: "versions-never-fall",
  rule: "On a node a scope's kill or revive is only ever followed by one of a later version, or by a kill of the same (K3, K4).",
  watch: () => {
    /** Version in force, by start and scope. */
    const inForce = new Map<string, number>();
    return {
      on: (event) => {
        if (event.t !== "enforced") return undefined;
        const { scope, v, op } = event.record;
        const key = `${event.bootId} ${scope}`;
        const before = inForce.get(key) ?? 0;
        inForce.set(key, v);
        if (v > before || (v === before && op.case === "kill")) return undefined;
        return `${event.node} follows version ${before} of ${scope} with a ${op.case} of version ${v}`;
      },
    };
  },
};
