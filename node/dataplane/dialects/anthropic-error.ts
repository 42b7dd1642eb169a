import type { JsonObject, RefusalWords } from "./dialect.ts";

/**
 * A refusal as Anthropic's APIs word errors.
 *
 * @see https://docs.anthropic.com/en/api/errors
 */
export function anthropicError({ reason, message, requestId, status }: RefusalWords): JsonObject {
  return {
    type: "error",
    error: { type: errorType(status), message: `${message} (${reason})` },
    request_id: requestId,
  };
}

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
