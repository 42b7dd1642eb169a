// How many workers a second can an orchestrator make, each with a part of its authority that works?
//
// KEY is that of a contract: `altrace contract issue <agent> --grant grant.json`.

import { sleep } from "k6";
import http from "k6/http";
import { Counter, Trend } from "k6/metrics";
import { body, gateway, params, seconds, url } from "./lib/options.js";

const delegated = new Counter("delegated");
const refused = new Counter("delegation_refused");
const works = new Counter("worker_served");
const lame = new Counter("worker_refused");
const took = new Trend("delegation_ms", true);

export const options = {
  scenarios: { delegating: { executor: "constant-vus", vus: 4, duration: `${seconds}s` } },
  thresholds: { delegated: ["count>0"], worker_refused: ["count==0"] },
  summaryTrendStats: ["count", "p(50)", "p(99)", "max"],
};

const bucket = (n) => ({ b: n, n, w: 1 });
const PART = JSON.stringify({
  grant: {
    budget: { calls: 100, tok: 1_000_000, usd_u: 100_000 },
    rate: { req: bucket(50), tok: bucket(100_000), usd_u: bucket(100_000) },
  },
});
const BODY = body("answer");
/** How often a new worker asks before it counts as lame. */
const TRIES = 50;

export default function () {
  const response = http.post(`${gateway}/altrace/v1/delegations`, PART, params());
  took.add(response.timings.duration);
  if (response.status !== 201) {
    refused.add(1);
    return;
  }
  delegated.add(1);
  const key = response.json("key");
  for (let i = 0; i < TRIES; i += 1) {
    const answer = http.post(url, BODY, params(key));
    if (answer.status === 200) return works.add(1);
    // Its rate fills from nothing, and its money is borrowed at its first request.
    if (answer.status !== 429 && answer.status !== 503) break;
    sleep(Number(answer.headers["Retry-After-Ms"] || 20) / 1_000);
  }
  lame.add(1);
}
