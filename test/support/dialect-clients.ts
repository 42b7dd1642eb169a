import type Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import type OpenAI from "openai";
import { anthropicOf, openaiOf } from "./sdk-clients.ts";
import type { Altrace } from "./start-altrace.ts";

/** One question, in words that every dialect has. */
export type Ask = {
  readonly prompt: string;
  readonly stream: boolean;
  /** A tool that is offered, or several between commas. */
  readonly tool?: string;
  readonly tokensMax?: number;
  /** With a parameter that nobody here knows the price of. */
  readonly unpriced?: boolean;
};

/** What an official client made of the answer. */
export type Told = {
  /** Everything that it gave out before the end: text, names and arguments of tools. */
  readonly said: string;
  /** Undefined: the answer came to its proper end. */
  readonly reason: string | undefined;
  readonly status: number | undefined;
};

export type DialectClient = {
  readonly name: string;
  readonly streams: boolean;
  /** Its answers are written by a model: they may break rules, call tools, and cost output. */
  readonly writes: boolean;
  /** Its requests may offer tools. */
  readonly offers: boolean;
  ask(at: At, agent: string, ask: Ask): Promise<Told>;
};

type At = Pick<Altrace, "gateway" | "key">;
type Say = (piece: unknown) => void;

/** The official client of each dialect. None of them tries again by itself. */
export const DIALECT_CLIENTS: readonly DialectClient[] = [
  { name: "openai chat", streams: true, writes: true, offers: true, ask: told(askChat) },
  { name: "openai responses", streams: true, writes: true, offers: true, ask: told(askResponses) },
  {
    name: "openai embeddings",
    streams: false,
    writes: false,
    offers: false,
    ask: told(askEmbeddings),
  },
  { name: "anthropic messages", streams: true, writes: true, offers: true, ask: told(askMessages) },
  {
    name: "anthropic count_tokens",
    streams: false,
    writes: false,
    offers: true,
    ask: told(askCount),
  },
  { name: "gemini", streams: true, writes: true, offers: true, ask: told(askGemini) },
];

const ONCE = { maxRetries: 0 };

function told(ask: (at: At, agent: string, ask: Ask, say: Say) => Promise<void>) {
  return async (at: At, agent: string, what: Ask): Promise<Told> => {
    const said: string[] = [];
    try {
      await ask(at, agent, what, (piece) => said.push(JSON.stringify(piece)));
      return { said: said.join(" "), reason: undefined, status: undefined };
    } catch (error) {
      const { status } = error as { readonly status?: number };
      return { said: said.join(" "), reason: reasonIn(error), status };
    }
  };
}

/** Wherever a dialect puts it: a header, a code, the words. */
function reasonIn(error: unknown): string {
  const { headers, code, message } = error as {
    readonly headers?: Headers;
    readonly code?: unknown;
    readonly message: string;
  };
  const named = headers?.get("x-altrace-reason") ?? (typeof code === "string" ? code : undefined);
  const inBody = /"reason":"([a-z_]+)"/.exec(message.replaceAll("\\", ""))?.[1];
  const found = named ?? inBody ?? /\(([a-z_]+)\)/.exec(message)?.[1];
  if (found === undefined) throw error;
  return found;
}

function namesIn(tools: string): readonly string[] {
  return tools.split(",");
}

const PARAMETERS = { type: "object", properties: {} };

async function askChat(at: At, agent: string, ask: Ask, say: Say): Promise<void> {
  const { prompt, tool, tokensMax, unpriced } = ask;
  const body: OpenAI.ChatCompletionCreateParamsNonStreaming = {
    model: "gpt-5-mini",
    messages: [{ role: "user", content: prompt }],
    ...(tool && {
      tools: namesIn(tool).map((name) => ({
        type: "function" as const,
        function: { name, parameters: PARAMETERS },
      })),
    }),
    ...(tokensMax && { max_completion_tokens: tokensMax }),
    ...(unpriced && { service_tier: "flex" }),
  };
  const { completions } = openaiOf(at, agent).chat;
  if (!ask.stream) return say((await completions.create(body, ONCE)).choices);
  for await (const chunk of await completions.create({ ...body, stream: true }, ONCE)) {
    say(chunk.choices);
  }
}

async function askResponses(at: At, agent: string, ask: Ask, say: Say): Promise<void> {
  const { prompt, tool, tokensMax, unpriced } = ask;
  const body: OpenAI.Responses.ResponseCreateParamsNonStreaming = {
    model: "gpt-5-mini",
    input: prompt,
    ...(tool && {
      tools: namesIn(tool).map((name) => ({
        type: "function" as const,
        name,
        parameters: PARAMETERS,
        strict: false,
      })),
    }),
    ...(tokensMax && { max_output_tokens: tokensMax }),
    ...(unpriced && { previous_response_id: "resp_1" }),
  };
  const { responses } = openaiOf(at, agent);
  if (!ask.stream) return say((await responses.create(body, ONCE)).output);
  for await (const event of await responses.create({ ...body, stream: true }, ONCE)) say(event);
}

async function askEmbeddings(at: At, agent: string, ask: Ask, say: Say): Promise<void> {
  const body: OpenAI.EmbeddingCreateParams = {
    model: "text-embedding-3-small",
    input: [ask.prompt, "another"],
    ...(ask.unpriced && { pooling: "mean" }),
  };
  say((await openaiOf(at, agent).embeddings.create(body, ONCE)).data);
}

async function askMessages(at: At, agent: string, ask: Ask, say: Say): Promise<void> {
  const { prompt, tool, tokensMax = 500, unpriced } = ask;
  const body: Anthropic.MessageCreateParamsNonStreaming = {
    model: "claude-haiku-4-5",
    max_tokens: tokensMax,
    messages: [{ role: "user", content: prompt }],
    ...(tool && {
      tools: namesIn(tool).map((name) => ({ name, input_schema: { type: "object" as const } })),
    }),
    ...(unpriced && { container: "c_1" }),
  };
  const { messages } = anthropicOf(at, agent);
  if (!ask.stream) return say((await messages.create(body, ONCE)).content);
  for await (const event of await messages.create({ ...body, stream: true }, ONCE)) say(event);
}

async function askCount(at: At, agent: string, ask: Ask, say: Say): Promise<void> {
  const body: Anthropic.MessageCountTokensParams = {
    model: "claude-haiku-4-5",
    messages: [{ role: "user", content: ask.prompt }],
    ...(ask.tool && {
      tools: namesIn(ask.tool).map((name) => ({ name, input_schema: { type: "object" as const } })),
    }),
    ...(ask.unpriced && { mcp_servers: [] }),
  };
  say(await anthropicOf(at, agent).messages.countTokens(body, ONCE));
}

async function askGemini(at: At, agent: string, ask: Ask, say: Say): Promise<void> {
  const { prompt, tool, tokensMax, unpriced } = ask;
  const { models } = new GoogleGenAI({
    apiKey: at.key(agent),
    httpOptions: { baseUrl: at.gateway },
  });
  const body = {
    model: "gemini-2.5-flash",
    contents: prompt,
    config: {
      ...(tool && {
        tools: [{ functionDeclarations: namesIn(tool).map((name) => ({ name })) }],
      }),
      ...(tokensMax && { maxOutputTokens: tokensMax }),
      ...(unpriced && { cachedContent: "cachedContents/c1" }),
    },
  };
  if (!ask.stream) return say((await models.generateContent(body)).candidates);
  for await (const chunk of await models.generateContentStream(body)) say(chunk.candidates);
}
