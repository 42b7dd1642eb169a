import { countPromptTokens } from "./demo-tokens.ts";

/** A request in either dialect, as far as the demo provider looks at it. */
export type DemoRequest = {
  readonly model: string;
  readonly stream: boolean;
  /** Text of the last message. */
  readonly prompt: string;
  readonly promptTokens: number;
  /** Tokens each answer may have. */
  readonly tokensMax: number;
  readonly choices: number;
  /** The client asked for usage in its stream; one of the two dialects has such a wish. */
  readonly wantsUsage: boolean;
  readonly offersTools: boolean;
};

const TOKENS_MAX_DEFAULT = 4_096;

type Json = Readonly<Record<string, unknown>>;

/** Reads a request's body; undefined when it has no model or no messages. */
export function readDemoRequest(body: string): DemoRequest | undefined {
  const value = parseObject(body);
  const messages = value?.messages;
  if (value === undefined || typeof value.model !== "string") return undefined;
  if (!Array.isArray(messages) || messages.length === 0) return undefined;
  const texts: string[] = [];
  collectTexts(value.system, texts);
  collectTexts(value.tools, texts);
  for (const message of messages) collectTexts(message?.content, texts);
  const last: string[] = [];
  collectTexts(messages.at(-1)?.content, last);
  const limit = value.max_completion_tokens ?? value.max_tokens;
  const options = value.stream_options as Json | undefined | null;
  return {
    model: value.model,
    stream: value.stream === true,
    prompt: last.join("\n"),
    promptTokens: countPromptTokens(texts, messages.length),
    tokensMax: typeof limit === "number" ? limit : TOKENS_MAX_DEFAULT,
    choices: typeof value.n === "number" ? value.n : 1,
    wantsUsage: options?.include_usage === true,
    offersTools: Array.isArray(value.tools) && value.tools.length > 0,
  };
}

function parseObject(body: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Json) : undefined;
  } catch {
    return undefined;
  }
}

function collectTexts(value: unknown, into: string[]): void {
  if (typeof value === "string") into.push(value);
  else if (typeof value === "object" && value !== null) {
    for (const member of Object.values(value)) collectTexts(member, into);
  }
}
