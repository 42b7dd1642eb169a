// Do one agent's prompts of 100 KB make another one's small requests wait?

import http from "k6/http";
import { Rate, Trend } from "k6/metrics";
import { body, neighbourKey, params, perSecond, reasonOf, steady, url } from "./lib/options.js";

const small = new Trend("small_alone_ms", true);
const beside = new Trend("small_beside_ms", true);
const large = new Trend("large_ms", true);
const refused = new Rate("refused_share");

// First without large prompts, then with them: the same small requests in the same minute.
export const options = {
  scenarios: {
    alone: { ...steady(perSecond, 0.5), exec: "askAlone" },
    beside: { ...steady(perSecond, 0.5, 0.5), exec: "askBeside" },
    large: { ...steady(perSecond / 2, 0.5, 0.5), exec: "askLarge" },
  },
  thresholds: { refused_share: ["rate==0"] },
  summaryTrendStats: ["count", "p(50)", "p(99)", "max"],
};

const SMALL = body("answer");
const LARGE = body("answer", "lorem ipsum dolor ".repeat(5_600));

function ask(text, key, into) {
  const response = http.post(url, text, params(key));
  refused.add(reasonOf(response) !== "ok");
  into.add(response.timings.duration);
}

export function askAlone() {
  ask(SMALL, undefined, small);
}

export function askBeside() {
  ask(SMALL, undefined, beside);
}

export function askLarge() {
  ask(LARGE, neighbourKey, large);
}
