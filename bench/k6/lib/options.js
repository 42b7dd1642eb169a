// What the scripts share: whom they ask, with what, and what they make of the answer.

const GATEWAY = __ENV.GATEWAY || "http://127.0.0.1:4000";
const KEY = __ENV.KEY;
if (!KEY) throw new Error("-e KEY=altk_...: the key of the agent that will be killed");

export const url = `${GATEWAY}/v1/chat/completions`;

/** Seconds of load; the kill comes from outside, somewhere in between. */
export const seconds = Number(__ENV.SECONDS || 30);

export function params() {
  return {
    headers: { "content-type": "application/json", authorization: `Bearer ${KEY}` },
    // Long enough for a stream that waits to be cut.
    timeout: `${seconds + 30}s`,
  };
}

export function body(isStream) {
  return JSON.stringify({
    model: "gpt-5-mini",
    max_completion_tokens: 256,
    ...(isStream ? { stream: true, stream_options: { include_usage: true } } : {}),
    // The first word tells the benches' own upstream what to do; a model may make of it what it likes.
    messages: [{ role: "user", content: `${isStream ? "hold" : "answer"} k6, and say on.` }],
  });
}

/** The reason of a refusal, or "ok". */
export function reasonOf(response) {
  return response.headers["X-Altrace-Reason"] || (response.status === 200 ? "ok" : "none");
}
