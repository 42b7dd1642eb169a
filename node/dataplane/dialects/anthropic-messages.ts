import type { RelayDialect } from "./answer-part.ts";
import { messagesStreamReader, readMessagesAnswer } from "./anthropic-answer.ts";
import { readMessagesRequest } from "./anthropic-request.ts";
import type { JsonObject, RefusalWords, Route } from "./dialect.ts";

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
  routes: ROUTES,
  // `anthropic-beta` switches on what may have another price, so it is left out.
  passedHeaders: ["accept", "anthropic-version"],
  returnedHeaders: ["content-type", "retry-after", "retry-after-ms", "request-id"],
  settableMembers: ["model", "max_tokens"],
  read: (_route, body) => readMessagesRequest(body),
  upstreamBody: (_route, body, set) => ({
    ...body,
    model: set.model,
    ...(set.maxOutputTokens !== undefined && { max_tokens: set.maxOutputTokens }),
  }),
  readAnswer: readMessagesAnswer,
  streamReader: messagesStreamReader,
  refusal: (words) => ({
    contentType: "application/json",
    body: Buffer.from(JSON.stringify(errorOf(words))),
  }),
  cutFrame: (words) => Buffer.from(`event: error\ndata: ${JSON.stringify(errorOf(words))}\n\n`),
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

function errorOf({ reason, message, requestId, status }: RefusalWords): JsonObject {
  return {
    type: "error",
    error: { type: errorType(status), message: `${message} (${reason})` },
    request_id: requestId,
  };
}

/** @see https://docs.anthropic.com/en/api/errors */
function errorType(status: number): string {
  switch (status) {
    case 401:
      return "authentication_error";
    case 402:
      return "billing_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 504:
      return "timeout_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}
