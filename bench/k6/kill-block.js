// After a kill, does any request of the agent still succeed, and how fast is the refusal?
//
// Kill the agent while this runs. Seen from outside, so a success shortly after the first refusal may
// have been sent before it: what decides is `npm run bench -- kill-block`.

import http from "k6/http";
import { Counter, Trend } from "k6/metrics";
import { body, params, reasonOf, seconds, url } from "./lib/options.js";

const refused = new Counter("refused_by_kill");
const succeededAfter = new Counter("succeeded_after_first_refusal");
const refusal = new Trend("refusal_ms", true);

export const options = {
  scenarios: {
    asking: { executor: "constant-vus", vus: 4, duration: `${seconds}s` },
  },
  // Requests that were on their way: at most one of each virtual user.
  thresholds: { succeeded_after_first_refusal: ["count<=4"], refused_by_kill: ["count>0"] },
  summaryTrendStats: ["count", "p(50)", "p(99)", "max"],
};

let isKilled = false;

export default function () {
  const response = http.post(url, body("answer"), params());
  const reason = reasonOf(response);
  if (reason.startsWith("killed_")) {
    isKilled = true;
    refused.add(1);
    refusal.add(response.timings.duration);
  } else if (isKilled && response.status === 200) succeededAfter.add(1);
}
