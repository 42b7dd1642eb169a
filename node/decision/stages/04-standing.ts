import { covers } from "../../../policy/pattern.ts";
import { DELEGATIONS_ROUTE, type Facts, isMissing, isTunnel } from "../facts.ts";
import type { RowOutcome } from "../verdict.ts";

/**
 * Where does the agent stand on the ladder?
 *
 * Block refuses at the head. Quarantine leaves the named models and no tools, which only the body
 * shows; so at the head it passes, and with the body it is judged. It leaves no tunnels and no sessions. Throttle is a
 * matter of rate.
 */
export function checkStanding(facts: Facts): RowOutcome {
  switch (facts.standing) {
    case "normal":
    case "warning":
    case "throttle":
      return "pass";
    case "quarantine":
      return facts.pass === "head" ? "pass" : checkQuarantine(facts);
    case "block":
    case "kill":
      return { reason: "blocked" };
  }
}

function checkQuarantine(facts: Facts): RowOutcome {
  if (isMissing(facts.request)) return { reason: "quarantined" };
  // What a connection to a provider carries is judged request by request.
  if (facts.destination?.mode === "inspect") return "pass";
  if (isTunnel(facts)) return { reason: "quarantined", detail: "tunnels" };
  if (facts.request.isSession) return { reason: "quarantined", detail: "sessions" };
  if (facts.request.tools.length > 0) return { reason: "quarantined", detail: "tools" };
  if (facts.request.route === DELEGATIONS_ROUTE) {
    return { reason: "quarantined", detail: "delegation" };
  }
  // The list of models is answered here. Whatever else has no model, a tunnel above all, leads out.
  if (facts.request.model === undefined) {
    return facts.door === "gateway" ? "pass" : { reason: "quarantined", detail: "tunnels" };
  }
  if (facts.model === undefined || isMissing(facts.model)) return { reason: "quarantined" };
  const left = facts.grant?.quarantine.models ?? [];
  if (covers(left, facts.model.id)) return "pass";
  return { reason: "quarantined", detail: `model ${facts.model.id}` };
}
