import { DEAD_MAN_MS, MARGIN_MS } from "../sim-coordinator.ts";
import { type Oracle, scopesOf } from "./oracle.ts";

export const killIsContained: Oracle = {
  name: "kill-is-contained",
  rule: "From the dead-man's time after an operator was told that a kill is accepted, and after the last digest of another coordinator that does not know it, no node sends anything of what it covers, whether or not it has heard of it (K7).",
  watch: (world) => {
    const { time, plane } = world;
    type Accepted = { readonly scope: string; readonly v: number; atMs: number };
    const isAlone = plane.coordinators.length === 1;
    const accepted: Accepted[] = [];
    /** Highest version of a committed revive, by scope. */
    const revived = new Map<string, number>();
    return {
      on: (event) => {
        if (event.t === "accepted") {
          accepted.push({ scope: event.scope, v: event.v, atMs: time.nowMs });
        }
        if (event.t === "digest" && !isAlone) {
          for (const kill of accepted) {
            // A revive of the same version is what stands where a kill came from a coordinator that was removed.
            if (!event.knowsKill(kill.scope, kill.v)) kill.atMs = time.nowMs;
          }
        }
        if (event.t === "committed" && event.record.op.case === "revive") {
          const { scope, v } = event.record;
          revived.set(scope, Math.max(revived.get(scope) ?? 0, v));
        }
        if (event.t !== "sent") return undefined;
        const scopes = scopesOf(world, event);
        for (const { scope, v, atMs } of accepted) {
          if (!scopes.includes(scope) || (revived.get(scope) ?? 0) > v) continue;
          const sinceMs = time.nowMs - atMs;
          if (sinceMs <= DEAD_MAN_MS + MARGIN_MS) continue;
          return `${event.node} sent ${event.requestId} of ${event.agentId} ${Math.round(sinceMs)} ms after the kill of ${scope} was in all digests`;
        }
        return undefined;
      },
    };
  },
};
