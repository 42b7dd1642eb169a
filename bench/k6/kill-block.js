// Once an agent was told of its kill, does any request of it still succeed, and how fast is the refusal?
//
// Kill the agent once while this runs. A user sends its next request after the answer to its last: what
// it sends after its first refusal was sent after the kill. Requests that were sent around the kill cannot
// be told apart from outside; `npm run bench -- kill-block` does.

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
  thresholds: { succeeded_after_first_refusal: ["count==0"], refused_by_kill: ["count>0"] },
  summaryTrendStats: ["count", "p(50)", "p(99)", "max"],
};

// Of one user: each has a runtime of its own.
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
