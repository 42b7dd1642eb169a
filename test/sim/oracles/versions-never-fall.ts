import type { MeshRecord } from "../../../mesh/record.ts";
import type { Oracle } from "./oracle.ts";

export const versionsNeverFall: Oracle = {
  name: "versions-never-fall",
  rule: "On a node a scope's kill or revive is only ever followed by one of a later version; at the same version by a kill, or, of two revives, by that of the greater hash (K1, K3, K4).",
  watch: () => {
    /** What is in force, by start and scope. */
    const inForce = new Map<string, MeshRecord>();
    return {
      on: (event) => {
        if (event.t !== "enforced") return undefined;
        const { record } = event;
        const { scope, v, op } = record;
        const key = `${event.bootId} ${scope}`;
        const before = inForce.get(key);
        inForce.set(key, record);
        if (before === undefined || v > before.v) return undefined;
        // An operator who heard nothing signs another revive of the same kill; both may get through.
        const isTie = before.op.case === op.case && record.hashHex > before.hashHex;
        if (v === before.v && (op.case === "kill" || isTie)) return undefined;
        return `${event.node} follows version ${before.v} of ${scope} with a ${op.case} of version ${v}`;
      },
    };
  },
};
