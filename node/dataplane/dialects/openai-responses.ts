import type { RelayDialect } from "./answer-part.ts";
import type { Route } from "./dialect.ts";
import { leaveOutTools, type ToolPlaces } from "./leave-out-tools.ts";
import { OPENAI_CHAT } from "./openai-chat.ts";
import { openaiError } from "./openai-error.ts";
import { readResponsesAnswer, responsesStreamReader } from "./openai-responses-answer.ts";
import { readResponsesRequest } from "./openai-responses-request.ts";

const ROUTES: readonly Route[] = [
  { id: "openai.responses", method: "POST", path: "/v1/responses", kind: "generate" },
];

/**
 * OpenAI's Responses.
 *
 * A request that does not say so keeps its answer at the provider, where no later request through
 * here may refer to it; so it is told not to.
 *
 * @see https://platform.openai.com/docs/api-reference/responses
 */
export const OPENAI_RESPONSES: RelayDialect = {
  ...OPENAI_CHAT,
  name: "openai-responses",
  routes: ROUTES,
  settableMembers: ["model", "max_output_tokens", "store"],
  read: (_route, body) => readResponsesRequest(body),
  leaveOutTools: (body, mayOffer) => leaveOutTools(body, TOOLS, mayOffer),
  upstreamBody: (_route, body, set) => ({
    ...body,
    model: set.model,
    store: false,
    ...(set.maxOutputTokens !== undefined && { max_output_tokens: set.maxOutputTokens }),
  }),
  readAnswer: readResponsesAnswer,
  streamReader: responsesStreamReader,
  cutFrame: (words) => {
    const { message, code } = openaiError(words).error as { message: string; code: string };
    const event = { type: "error", code, message, param: null };
    return Buffer.from(`event: error\ndata: ${JSON.stringify(event)}\n\n`);
  },
};

const TOOLS: ToolPlaces = {
  // What the provider runs has no name that counts.
  nameOf: ({ type, name }) =>
    (type === "function" || type === "custom") && typeof name === "string" ? name : undefined,
  lists: ["tools"],
  choices: ["tool_choice", "parallel_tool_calls", "max_tool_calls"],
};
