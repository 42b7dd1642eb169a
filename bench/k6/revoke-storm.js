// While one agent is killed and revived over and over, is anybody else refused, or made to wait?
//
// Kill and revive the agent of KEY as fast as may be while this runs.

import http from "k6/http";
import { Counter, Rate, Trend } from "k6/metrics";
import { body, neighbourKey, params, reasonOf, seconds, url } from "./lib/options.js";

const refused = new Counter("target_refused_by_kill");
const served = new Counter("target_served");
const neighbourRefused = new Rate("neighbour_refused_share");
const neighbour = new Trend("neighbour_ms", true);

export const options = {
  scenarios: {
    target: { executor: "constant-vus", vus: 2, duration: `${seconds}s`, exec: "askAsTarget" },
    others: { executor: "constant-vus", vus: 2, duration: `${seconds}s`, exec: "askAsNeighbour" },
  },
  thresholds: { neighbour_refused_share: ["rate==0"], target_refused_by_kill: ["count>0"] },
  summaryTrendStats: ["count", "p(50)", "p(99)", "max"],
};

const BODY = body("answer");

export function askAsTarget() {
  const reason = reasonOf(http.post(url, BODY, params()));
  if (reason.startsWith("killed_")) refused.add(1);
  else if (reason === "ok") served.add(1);
}

export function askAsNeighbour() {
  const response = http.post(url, BODY, params(neighbourKey));
  neighbourRefused.add(reasonOf(response) !== "ok");
  neighbour.add(response.timings.duration);
}
