// What the scripts share: whom they ask, with what, and what they make of the answer.

export const gateway = __ENV.GATEWAY || "http://127.0.0.1:4000";
const KEY = __ENV.KEY;
if (!KEY) throw new Error("-e KEY=altk_...: the key of the agent that asks");

/** Key of another agent, for the scripts that have two. */
export const neighbourKey = __ENV.NEIGHBOUR_KEY;

export const url = `${gateway}/v1/chat/completions`;

/** Seconds of load; a kill comes from outside, somewhere in between. */
export const seconds = Number(__ENV.SECONDS || 30);

/** How many are open at once, where something is held open. */
export const streams = Number(__ENV.STREAMS || 100);

/** Requests a second, where the rate is steady. */
export const perSecond = Number(__ENV.PER_SECOND || 100);

/**
 * An open loop: who asks does not wait for whom is slow. A share of the time, and where it begins.
 */
export function steady(rate, share = 1, from = 0) {
  return {
    executor: "constant-arrival-rate",
    rate: Math.max(1, Math.round(rate)),
    timeUnit: "1s",
    startTime: `${from * seconds}s`,
    duration: `${share * seconds}s`,
    preAllocatedVUs: 50,
    maxVUs: 200,
  };
}

/** As many users as are to be held open, each once: what the scripts do that end by a kill. */
export const holding = {
  executor: "per-vu-iterations",
  vus: streams,
  iterations: 1,
  maxDuration: `${2 * seconds}s`,
};

export function params(key = KEY) {
  return {
    headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
    // Long enough for a stream that waits to be cut.
    timeout: `${seconds + 30}s`,
  };
}

/** @param wish "answer", "stream" or "hold": what the benches' own upstream does. */
export function body(wish, text = "", more = {}) {
  const isStream = wish !== "answer";
  return JSON.stringify({
    model: "gpt-5-mini",
    max_completion_tokens: 256,
    ...(isStream ? { stream: true, stream_options: { include_usage: true } } : {}),
    // The first word tells the benches' own upstream what to do; a model may make of it what it likes.
    messages: [{ role: "user", content: `${wish} k6, and say on. ${text}` }],
    ...more,
  });
}

/** The reason of a refusal, or "ok". */
export function reasonOf(response) {
  return response.headers["X-Altrace-Reason"] || (response.status === 200 ? "ok" : "none");
}
