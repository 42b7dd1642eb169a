// How many small requests a second does a node carry, asked by more and more at once, and is one refused?

import http from "k6/http";
import { Counter, Rate } from "k6/metrics";
import { body, params, reasonOf, seconds, url } from "./lib/options.js";

const answered = new Counter("answered");
const refused = new Rate("refused_share");

export const options = {
  scenarios: {
    asking: {
      executor: "ramping-vus",
      startVUs: 1,
      stages: [4, 16, 32].map((target) => ({ target, duration: `${seconds / 3}s` })),
    },
  },
  thresholds: { refused_share: ["rate==0"] },
  summaryTrendStats: ["count", "p(50)", "p(99)", "max"],
};

const BODY = body("answer");

export default function () {
  const response = http.post(url, BODY, params());
  refused.add(reasonOf(response) !== "ok");
  if (response.status === 200) answered.add(1);
}
