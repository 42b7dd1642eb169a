// At a steady rate, when does a stream of 100 chunks begin, and when is it whole?

import http from "k6/http";
import { Rate, Trend } from "k6/metrics";
import { body, params, perSecond, steady, url } from "./lib/options.js";

const first = new Trend("first_byte_ms", true);
const last = new Trend("last_byte_ms", true);
const broken = new Rate("not_whole_share");

export const options = {
  scenarios: { reading: steady(perSecond / 5) },
  thresholds: { not_whole_share: ["rate==0"], dropped_iterations: ["count<10"] },
  summaryTrendStats: ["count", "p(50)", "p(99)", "max"],
};

const BODY = body("stream");

export default function () {
  const response = http.post(url, BODY, params());
  const text = String(response.body || "");
  broken.add(!(text.includes("word99 ") && text.includes("[DONE]")));
  first.add(response.timings.waiting);
  last.add(response.timings.duration);
}
