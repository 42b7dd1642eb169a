import type { Pool } from "undici";
import { OUTPUT_TOKENS_MAX } from "../fixtures/overrun-policy.ts";
import { pause } from "./operator.ts";

export type AdversaryOptions = {
  /** `team/agent`. */
  readonly agent: string;
  readonly key: string;
  readonly model: string;
  /** Gateways of all nodes. */
  readonly doors: readonly Pool[];
  readonly onAnswer: (word: string) => void;
};

const PAUSE_MS = { min: 100, max: 1_500 };
const BURSTS = [1, 1, 2, 4, 8] as const;
const CONTENT_BYTES = [20, 500, 4_000, 24_000] as const;
const OUTPUT_LIMITS = [16, 500, 2_000, OUTPUT_TOKENS_MAX, 1_000_000] as const;
const ABSENT_LIMIT_SHARE = 0.4;
const STREAM_SHARE = 0.5;
const LEAVING_SHARE = 0.2;
const LEAVE_MS_MAX = 400;
/** A connection to a node that was killed tells so at once, and whoever asks again waits a little. */
const BROKEN_PAUSE_MS = 200;

/**
 * An agent that wants more than its budget: bursts over all nodes, huge prompts, no output limit or an
 * absurd one, and it leaves streams before they say what they cost.
 */
export async function attack(options: AdversaryOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await pause(between(PAUSE_MS.min, PAUSE_MS.max));
    const burst = Array.from({ length: pick(BURSTS) }, () => askOnce(options));
    await Promise.all(burst);
  }
}

/** Asks for little; returns the reason of a refusal, `ok`, or `broken`. */
export async function askForLittle(options: AdversaryOptions, door: Pool): Promise<string> {
  return ask(options, door, { contentBytes: 10, limit: 16, stream: false, leaveMs: undefined });
}

async function askOnce(options: AdversaryOptions): Promise<void> {
  const word = await ask(options, pick(options.doors), {
    contentBytes: Math.floor(Math.random() * pick(CONTENT_BYTES)),
    limit: Math.random() < ABSENT_LIMIT_SHARE ? undefined : pick(OUTPUT_LIMITS),
    stream: Math.random() < STREAM_SHARE,
    leaveMs: Math.random() < LEAVING_SHARE ? Math.floor(Math.random() * LEAVE_MS_MAX) : undefined,
  });
  options.onAnswer(word);
  if (word === "broken") await pause(BROKEN_PAUSE_MS);
}

type Wish = {
  readonly contentBytes: number;
  readonly limit: number | undefined;
  readonly stream: boolean;
  readonly leaveMs: number | undefined;
};

async function ask({ agent, key, model }: AdversaryOptions, door: Pool, wish: Wish) {
  const { contentBytes, limit, stream, leaveMs } = wish;
  const content = `${agent} ${"x".repeat(contentBytes)}`;
  const leaving = leaveMs === undefined ? undefined : AbortSignal.timeout(leaveMs);
  try {
    const { statusCode, headers, body } = await door.request({
      path: "/v1/chat/completions",
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
      body: JSON.stringify({
        model,
        ...(limit !== undefined && { max_completion_tokens: limit }),
        ...(stream && { stream }),
        messages: [{ role: "user", content }],
      }),
      ...(leaving && { signal: leaving }),
    });
    await body.dump({ limit: 10_000_000 });
    const reason = headers["x-altrace-reason"];
    return statusCode === 200 ? "ok" : String(reason ?? statusCode);
  } catch {
    return leaving?.aborted ? "left" : "broken";
  }
}

function pick<T>(list: readonly T[]): T {
  return list[Math.floor(Math.random() * list.length)] as T;
}

function between(low: number, high: number): number {
  return low + Math.random() * (high - low);
}
