import type { Oracle } from "./oracle.ts";

export const noKillIsLost: Oracle = {
  name: "no-kill-is-lost",
  rule: "Once all faults are over, every kill that a node has acknowledged is the mesh's, or a later record of its scope is, whoever said it and whether or not its key still counts.",
  watch: ({ plane }) => {
    /** Highest version of a kill that some node has acknowledged as durable, by scope. */
    const kills = new Map<string, { readonly node: string; readonly v: number }>();
    return {
      on: (event) => {
        if (event.t !== "acked" || !event.isKill || !event.isDurable) return undefined;
        const { scope, node, v } = event;
        if (v > (kills.get(scope)?.v ?? 0)) kills.set(scope, { node, v });
        return undefined;
      },
      atEnd: () => {
        const state = plane.founder.parts?.replica.state;
        for (const [scope, { node, v }] of kills) {
          const found = state?.get(scope);
          if (found !== undefined && (found.v > v || (found.v === v && found.op.case === "kill")))
            continue;
          return `${node} acknowledged a kill of ${scope} at version ${v}; the mesh has ${found?.op.case ?? "nothing"} at ${found?.v ?? 0}`;
        }
        return undefined;
      },
    };
  },
};
