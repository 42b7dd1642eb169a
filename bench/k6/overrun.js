// Can an agent spend more than its budget by asking for all there is, in bursts, and leaving early?
//
// What k6 sees is what the provider reports in whole answers. What is billed for answers that were
// left is told by `npm run bench -- overrun`.

import http from "k6/http";
import { Counter } from "k6/metrics";
import { body, params, reasonOf, seconds, url } from "./lib/options.js";

const spent = new Counter("spent_micro_usd");
const answered = new Counter("answered");
const forMoney = new Counter("refused_for_money");
const budget = Number(__ENV.BUDGET_USD || 0.05) * 1e6;
/** USD a million tokens; those of gpt-5-mini. */
const price = { input: Number(__ENV.INPUT_USD || 0.25), output: Number(__ENV.OUTPUT_USD || 2) };

export const options = {
  scenarios: { grabbing: { executor: "constant-vus", vus: 16, duration: `${seconds}s` } },
  thresholds: { spent_micro_usd: [`count<=${budget}`], refused_for_money: ["count>0"] },
  summaryTrendStats: ["count", "p(50)", "p(99)", "max"],
};

const BODIES = [
  // Without a limit, with an absurd one, and many answers at once.
  body("answer", "", { max_completion_tokens: undefined }),
  body("answer", "", { max_completion_tokens: 100_000 }),
  body("answer", "lorem ipsum ".repeat(1_000), { n: 4 }),
  body("answer"),
];

export default function () {
  const turn = __ITER % (BODIES.length + 1);
  if (turn === BODIES.length) {
    // Leaves while the answer is on its way.
    http.post(url, BODIES[3], { ...params(), timeout: "2ms" });
    return;
  }
  const response = http.post(url, BODIES[turn], params());
  const reason = reasonOf(response);
  if (reason === "budget_exhausted") forMoney.add(1);
  if (response.status !== 200) return;
  const { prompt_tokens, completion_tokens } = response.json("usage");
  spent.add(prompt_tokens * price.input + completion_tokens * price.output);
  answered.add(1);
}
