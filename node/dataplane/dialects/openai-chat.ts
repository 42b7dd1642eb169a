import type { RelayDialect } from "./answer-part.ts";
import type { JsonObject, Route } from "./dialect.ts";
import { asObject } from "./json-shape.ts";
import { leaveOutTools, type ToolPlaces } from "./leave-out-tools.ts";
import { chatStreamReader, readChatAnswer } from "./openai-answer.ts";
import { openaiError, openaiRefusal } from "./openai-error.ts";
import { readChatRequest } from "./openai-request.ts";

const ROUTES: readonly Route[] = [
  { id: "openai.chat", method: "POST", path: "/v1/chat/completions", kind: "generate" },
  { id: "openai.models", method: "GET", path: "/v1/models", kind: "models" },
];

/**
 * OpenAI's Chat Completions, which many other providers speak too.
 *
 * @see https://platform.openai.com/docs/api-reference/chat
 */
export const OPENAI_CHAT: RelayDialect = {
  name: "openai",
  family: "openai",
  routes: ROUTES,
  // An organisation or project header would choose whose money is spent; beta headers change prices.
  passedHeaders: ["accept"],
  returnedHeaders: ["content-type", "retry-after", "retry-after-ms", "openai-processing-ms"],
  settableMembers: ["model", "stream", "stream_options", "max_tokens", "max_completion_tokens"],
  read: (_route, body) => readChatRequest(body),
  leaveOutTools: (body, mayOffer) => leaveOutTools(body, TOOLS, mayOffer),
  upstreamBody: (_route, body, set) => ({
    ...body,
    model: set.model,
    ...outputLimit(body, set.maxOutputTokens),
    ...(body.stream === true && { stream_options: usageAsked(body) }),
  }),
  readAnswer: readChatAnswer,
  streamReader: chatStreamReader,
  refusal: openaiRefusal,
  cutFrame: (words) => Buffer.from(`data: ${JSON.stringify(openaiError(words))}\n\n`),
  modelList: (models) => ({
    object: "list",
    data: models.map(({ name, provider }) => ({
      id: name,
      object: "model",
      created: 0,
      owned_by: provider,
    })),
  }),
  credentialHeader: (secret) => ["authorization", `Bearer ${secret}`],
};

const TOOLS: ToolPlaces = {
  nameOf: (tool) => {
    const { type } = tool;
    // Functions of the older list have their name in themselves.
    const named = type === "function" || type === "custom" ? asObject(tool[type]) : tool;
    return typeof named?.name === "string" ? named.name : undefined;
  },
  lists: ["tools", "functions"],
  choices: ["tool_choice", "function_call", "parallel_tool_calls"],
};

/** The limit goes where the request has one; the newer member is for requests that name none. */
function outputLimit(body: JsonObject, maxOutputTokens: number | undefined): JsonObject {
  if (maxOutputTokens === undefined) return {};
  const older = typeof body.max_tokens === "number";
  const newer = typeof body.max_completion_tokens === "number";
  return {
    ...(older && { max_tokens: maxOutputTokens }),
    ...((newer || !older) && { max_completion_tokens: maxOutputTokens }),
  };
}

function usageAsked(body: JsonObject): JsonObject {
  return { ...asObject(body.stream_options), include_usage: true };
}
