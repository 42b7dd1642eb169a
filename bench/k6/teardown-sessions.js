// When an agent with many open WebSockets is killed, does each of them end, and how soon?
//
// Needs a policy that lets sessions with gpt-realtime go unread. Kill the agent while this runs: the time runs from
// the opening, so that its spread, not its size, tells how soon after the kill the last one ended.

import { Counter, Trend } from "k6/metrics";
import { WebSocket } from "k6/websockets";
import { gateway, holding, params, streams } from "./lib/options.js";

const cut = new Counter("sessions_cut");
const refused = new Counter("sessions_refused");
const lived = new Trend("session_ms", true);

export const options = {
  scenarios: { holding },
  thresholds: { sessions_cut: [`count==${streams}`], sessions_refused: ["count==0"] },
  summaryTrendStats: ["count", "p(50)", "p(99)", "max"],
};

export default function () {
  const url = `${gateway.replace("http", "ws")}/v1/realtime?model=gpt-realtime`;
  const { authorization } = params().headers;
  const session = new WebSocket(url, null, { headers: { authorization } });
  const startedMs = Date.now();
  let isSpokenTo = false;
  session.onmessage = () => {
    isSpokenTo = true;
  };
  // One that was refused is an error before there was a word; one that was cut had been spoken to.
  session.onerror = () => undefined;
  session.onclose = () => {
    lived.add(Date.now() - startedMs);
    (isSpokenTo ? cut : refused).add(1);
  };
}
