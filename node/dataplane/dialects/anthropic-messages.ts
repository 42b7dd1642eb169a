import type { RelayDialect } from "./answer-part.ts";
import { messagesStreamReader, readMessagesAnswer } from "./anthropic-answer.ts";
import { anthropicError } from "./anthropic-error.ts";
import { readMessagesRequest } from "./anthropic-request.ts";
import type { Route } from "./dialect.ts";
import { leaveOutTools, type ToolPlaces } from "./leave-out-tools.ts";

const ROUTES: readonly Route[] = [
  { id: "anthropic.messages", method: "POST", path: "/v1/messages", kind: "generate" },
  { id: "anthropic.models", method: "GET", path: "/v1/models", kind: "models" },
];

/** The list has a date for each model; policy knows none. */
const NO_DATE = "1970-01-01T00:00:00Z";

/**
 * Anthropic's Messages.
 *
 * @see https://docs.anthropic.com/en/api/messages
 */
export const ANTHROPIC_MESSAGES: RelayDialect = {
  name: "anthropic",
  family: "anthropic",
  routes: ROUTES,
  // `anthropic-beta` switches on what may have another price, so it is left out.
  passedHeaders: ["accept", "anthropic-version"],
  returnedHeaders: ["content-type", "retry-after", "retry-after-ms", "request-id"],
  settableMembers: ["model", "max_tokens"],
  read: (_route, body) => readMessagesRequest(body),
  leaveOutTools: (body, mayOffer) => leaveOutTools(body, TOOLS, mayOffer),
  upstreamBody: (_route, body, set) => ({
    ...body,
    model: set.model,
    ...(set.maxOutputTokens !== undefined && { max_tokens: set.maxOutputTokens }),
  }),
  readAnswer: readMessagesAnswer,
  streamReader: messagesStreamReader,
  refusal: (words) => ({
    contentType: "application/json",
    body: Buffer.from(JSON.stringify(anthropicError(words))),
  }),
  cutFrame: (words) =>
    Buffer.from(`event: error\ndata: ${JSON.stringify(anthropicError(words))}\n\n`),
  modelList: (models) => ({
    data: models.map(({ name }) => ({
      type: "model",
      id: name,
      display_name: name,
      created_at: NO_DATE,
    })),
    has_more: false,
    first_id: models[0]?.name ?? null,
    last_id: models.at(-1)?.name ?? null,
  }),
  credentialHeader: (secret) => ["x-api-key", secret],
};

const TOOLS: ToolPlaces = {
  nameOf: ({ name }) => (typeof name === "string" ? name : undefined),
  lists: ["tools"],
  choices: ["tool_choice"],
};
