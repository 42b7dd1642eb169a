import { setTimeout as sleep } from "node:timers/promises";

/** Between two questions. */
const GAP_MS = { close: 5, wide: 50 };
/**
 * So often it was let through before the next questions are wide apart: then only an end is waited for. A
 * refusal has to hold at every moment, and who does not listen yet may do so at any time.
 */
const SERVED_MIN = 50;
const LIMIT_MS = 60_000;

/**
 * Asks again and again, one request after another, and returns what was said, in order: status and
 * reason, or `no connection`. Ends with the first answer that `until` takes, once there are enough.
 */
export async function firstAnswers(
  at: { readonly gateway: string; key(agent: string): string },
  agent: string,
  options: {
    readonly until: (answer: string) => boolean;
    readonly atLeast?: number;
    /** Whoever may say anything of some set until then is asked as seldom as one that serves. */
    readonly mayDiffer?: true;
  },
): Promise<readonly string[]> {
  const answers: string[] = [];
  const deadline = Date.now() + LIMIT_MS;
  let served = 0;
  for (;;) {
    const answer = await answerTo(at, agent);
    served = answer === "200 ok" ? served + 1 : 0;
    answers.push(answer);
    if (options.until(answer) && answers.length >= (options.atLeast ?? 1)) return answers;
    if (Date.now() > deadline) throw new Error(`only heard ${[...new Set(answers)].join(", ")}`);
    const isSeldom = options.mayDiffer === true || served >= SERVED_MIN;
    await sleep(isSeldom ? GAP_MS.wide : GAP_MS.close);
  }
}

async function answerTo(
  at: { readonly gateway: string; key(agent: string): string },
  agent: string,
): Promise<string> {
  try {
    const answer = await fetch(`${at.gateway}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${at.key(agent)}` },
      body: JSON.stringify({ model: "gpt-5-mini", messages: [{ role: "user", content: "hi" }] }),
    });
    await answer.text();
    return `${answer.status} ${answer.headers.get("x-altrace-reason") ?? "ok"}`;
  } catch {
    return "no connection";
  }
}
