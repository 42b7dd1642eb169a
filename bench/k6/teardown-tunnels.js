// When an agent with many open CONNECT tunnels is killed, does each of them end, and how soon?
//
// Run with HTTPS_PROXY=http://:KEY@node:4080, and FAR=https://host:port, which answers without end.
// Kill the agent while this runs. The figure that counts is that of `npm run bench -- tunnels`.

import http from "k6/http";
import { Counter, Trend } from "k6/metrics";
import { holding, seconds, streams } from "./lib/options.js";

const cut = new Counter("tunnels_cut");
const lived = new Trend("tunnel_ms", true);
const refused = new Counter("tunnels_refused");

export const options = {
  insecureSkipTLSVerify: true,
  // A connection each: that is what a tunnel is.
  noConnectionReuse: true,
  scenarios: { holding },
  thresholds: { tunnels_cut: [`count==${streams}`], tunnels_refused: ["count==0"] },
  summaryTrendStats: ["count", "p(50)", "p(99)", "max"],
};

export default function () {
  const startedMs = Date.now();
  const response = http.get(__ENV.FAR, { timeout: `${2 * seconds}s` });
  const tookMs = Date.now() - startedMs;
  lived.add(tookMs);
  // The body was under way and broke off; a refusal comes before there is one.
  if (response.error !== "" && tookMs > seconds * 100) cut.add(1);
  else refused.add(1);
}
