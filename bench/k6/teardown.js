// When an agent with many open streams is killed, do all of its streams end, and do clients hear why?
//
// Kill the agent while this runs. The figure that counts, the last FIN or RST at both peers, is that of
// `npm run bench -- teardown`; k6 sees only when its own requests returned.

import http from "k6/http";
import { Counter, Trend } from "k6/metrics";
import { body, params, reasonOf, seconds, streams, url } from "./lib/options.js";

const told = new Counter("streams_told_why");
const whole = new Counter("streams_whole");
const length = new Trend("stream_ms", true);

export const options = {
  scenarios: {
    reading: {
      executor: "constant-vus",
      vus: streams,
      duration: `${seconds}s`,
      gracefulStop: "5s",
    },
  },
  thresholds: { streams_told_why: ["count>0"] },
  summaryTrendStats: ["count", "p(50)", "p(99)", "max"],
};

export default function () {
  const response = http.post(url, body("hold"), params());
  length.add(response.timings.duration);
  const text = String(response.body || "");
  if (reasonOf(response).startsWith("killed_") || text.includes("killed_")) told.add(1);
  else if (text.includes("[DONE]")) whole.add(1);
}
