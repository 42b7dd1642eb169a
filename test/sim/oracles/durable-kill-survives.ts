import type { Oracle } from "./oracle.ts";

export const durableKillSurvives: Oracle = {
  name: "durable-kill-survives",
  rule: "What a node has acknowledged as durable is in force after any later start of it, before anything else is (K4, K5).",
  watch: () => {
    /** Highest version acknowledged as durable, by node and scope. */
    const durable = new Map<string, Map<string, number>>();
    return {
      on: (event) => {
        if (event.t === "acked" && event.isDurable) {
          const scopes = durable.get(event.node) ?? new Map<string, number>();
          durable.set(event.node, scopes);
          scopes.set(event.scope, Math.max(scopes.get(event.scope) ?? 0, event.v));
        }
        if (event.t !== "restored") return undefined;
        for (const [scope, v] of durable.get(event.node) ?? []) {
          const found = event.versionOf(scope);
          if (found >= v) continue;
          return `${event.node} had ${scope} at version ${v} on disk, and starts with ${found}`;
        }
        return undefined;
      },
    };
  },
};
