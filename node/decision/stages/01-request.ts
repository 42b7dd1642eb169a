import { RECORD_TOOLS_MAX } from "../../../audit/record.ts";
import { type Facts, isMissing } from "../facts.ts";
import { asRefusal, type RowOutcome } from "../verdict.ts";

/** Can we read it? Framing, route, size and encoding; with the body, also its dialect. */
export function checkRequest(facts: Facts): RowOutcome {
  if (facts.draining) return { reason: "draining" };
  if (isMissing(facts.request)) return asRefusal(facts.request);
  const { unpricedParameter, tools, toolsOut = [] } = facts.request;
  // A record names what was left out too.
  if (tools.length + toolsOut.length > RECORD_TOOLS_MAX) {
    return { reason: "malformed_request", detail: `more than ${RECORD_TOOLS_MAX} tools` };
  }
  if (unpricedParameter !== undefined) {
    return { reason: "unpriced_parameter", detail: unpricedParameter };
  }
  return "pass";
}
