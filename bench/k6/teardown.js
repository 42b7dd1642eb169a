// When an agent with many open streams is killed, do all of its streams end, and do clients hear why?
//
// Kill the agent while this runs. The figure that counts, the last FIN or RST at both peers, is that of
// `npm run bench -- teardown`; k6 sees only when its own requests returned.

import http from "k6/http";
import { Counter, Trend } from "k6/metrics";
import { body, holding, params, reasonOf, streams, url } from "./lib/options.js";

const told = new Counter("streams_told_why");
const untold = new Counter("streams_not_told_why");
const length = new Trend("stream_ms", true);

export const options = {
  scenarios: { holding },
  thresholds: { streams_told_why: [`count==${streams}`], streams_not_told_why: ["count==0"] },
  summaryTrendStats: ["count", "p(50)", "p(99)", "max"],
};

export default function () {
  const response = http.post(url, body("hold"), params());
  length.add(response.timings.duration);
  const text = String(response.body || "");
  // Its head was there before the kill, and its last event after it; a refusal has no such head.
  const isTold = reasonOf(response) === "ok" && text.includes("killed_");
  (isTold ? told : untold).add(1);
}
