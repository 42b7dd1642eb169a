import { countPromptTokens } from "./demo-tokens.ts";

/** A request in any dialect, as far as the demo provider looks at it. */
export type DemoRequest = {
  readonly model: string;
  readonly stream: boolean;
  /** Text of the last message. */
  readonly prompt: string;
  readonly promptTokens: number;
  /** Tokens each answer may have. */
  readonly tokensMax: number;
  readonly choices: number;
  /** The client asked for usage in its stream; one of the dialects has such a wish. */
  readonly wantsUsage: boolean;
  readonly offersTools: boolean;
  /** How many texts to embed, and whether their vectors are wanted as bytes in base64. */
  readonly inputs: number;
  readonly wantsBase64: boolean;
};

/** What the path of a request says of it, where the body does not. */
export type SaidByPath = { readonly model?: string; readonly stream?: boolean };

const TOKENS_MAX_DEFAULT = 4_096;

type Json = Readonly<Record<string, unknown>>;

/** Reads a request's body; undefined when it has no model or no messages. */
export function readDemoRequest(body: string, path: SaidByPath = {}): DemoRequest | undefined {
  const value = parseObject(body);
  const model = path.model ?? value?.model;
  const messages = value?.messages ?? value?.contents ?? listed(value?.input);
  if (value === undefined || typeof model !== "string") return undefined;
  if (!Array.isArray(messages) || messages.length === 0) return undefined;
  const { system, instructions, systemInstruction, tools } = value;
  const texts: string[] = [];
  for (const one of [system, instructions, systemInstruction, tools]) collectTexts(one, texts);
  for (const message of messages) collectTexts(contentOf(message), texts);
  const last: string[] = [];
  collectTexts(contentOf(messages.at(-1)), last);
  return {
    model,
    stream: path.stream ?? value.stream === true,
    prompt: last.join("\n"),
    promptTokens: countPromptTokens(texts, messages.length),
    ...limitsOf(value),
    wantsUsage: (value.stream_options as Json | undefined | null)?.include_usage === true,
    offersTools: Array.isArray(tools) && tools.length > 0,
    inputs: messages.length,
    wantsBase64: value.encoding_format === "base64",
  };
}

function limitsOf(value: Json): Pick<DemoRequest, "tokensMax" | "choices"> {
  const config = (value.generationConfig ?? {}) as Json;
  const limit =
    value.max_completion_tokens ??
    value.max_tokens ??
    value.max_output_tokens ??
    config.maxOutputTokens;
  const choices = value.n ?? config.candidateCount;
  return {
    tokensMax: typeof limit === "number" ? limit : TOKENS_MAX_DEFAULT,
    choices: typeof choices === "number" ? choices : 1,
  };
}

/** An input that is one text is a list of one. */
function listed(input: unknown): unknown {
  return typeof input === "string" ? [input] : input;
}

function contentOf(message: unknown): unknown {
  if (typeof message !== "object" || message === null) return message;
  const { content, parts } = message as Json;
  return content ?? parts;
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
