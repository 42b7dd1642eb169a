import { type Oracle, scopesOf } from "./oracle.ts";

export const noSendAfterAckedKill: Oracle = {
  name: "no-send-after-acked-kill",
  rule: "Nothing of a killed agent, of a revoked contract, or of what was delegated from either reaches the provider from a node that has acknowledged the kill, until a later revive is in force there.",
  watch: (world) => {
    /** Highest version acknowledged, by start and scope. */
    const acked = new Map<string, number>();
    return {
      on: (event) => {
        if (event.t === "acked" && event.isKill) {
          const key = `${event.bootId} ${event.scope}`;
          acked.set(key, Math.max(acked.get(key) ?? 0, event.v));
        }
        if (event.t !== "sent") return undefined;
        const run = world.nodes.find(({ name }) => name === event.node)?.run;
        for (const scope of scopesOf(world, event)) {
          const v = acked.get(`${event.bootId} ${scope}`);
          if (v === undefined) continue;
          const now = run?.replica.state.get(scope);
          if (now?.op.case === "revive" && now.v > v) continue;
          return `${event.node} sent ${event.requestId} of ${event.agentId}, having acknowledged the kill of ${scope} at version ${v}`;
        }
        return undefined;
      },
    };
  },
};
