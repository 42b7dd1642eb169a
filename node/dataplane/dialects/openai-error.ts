import { REASONS } from "../../../proto/reasons.ts";
import type { JsonObject, RefusalWords } from "./dialect.ts";

/**
 * A refusal as OpenAI's APIs word errors.
 *
 * @see https://platform.openai.com/docs/guides/error-codes
 */
export function openaiError({ reason, message, requestId, status }: RefusalWords): JsonObject {
  return {
    error: {
      message: `${message} (request ${requestId})`,
      type: errorType(status, reason),
      param: null,
      code: reason,
    },
  };
}

/** The same as the body of an answer. */
export function openaiRefusal(words: RefusalWords): {
  readonly contentType: string;
  readonly body: Uint8Array;
} {
  return { contentType: "application/json", body: Buffer.from(JSON.stringify(openaiError(words))) };
}

function errorType(status: number, reason: RefusalWords["reason"]): string {
  if (REASONS[reason].status === 402) return "insufficient_quota";
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 404) return "not_found_error";
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}
