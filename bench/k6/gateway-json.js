// At a steady rate, how long does an agent wait for a small JSON answer?

import http from "k6/http";
import { Rate, Trend } from "k6/metrics";
import { body, params, perSecond, reasonOf, steady, url } from "./lib/options.js";

const whole = new Trend("answer_ms", true);
const refused = new Rate("refused_share");

export const options = {
  scenarios: { asking: steady(perSecond) },
  thresholds: { refused_share: ["rate==0"], dropped_iterations: ["count<10"] },
  summaryTrendStats: ["count", "p(50)", "p(99)", "max"],
};

const BODY = body("answer");

export default function () {
  const response = http.post(url, BODY, params());
  refused.add(reasonOf(response) !== "ok");
  whole.add(response.timings.duration);
}
