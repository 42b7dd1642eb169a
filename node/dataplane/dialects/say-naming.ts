import type { PartDraft } from "./answer-part.ts";
import { collectTexts, numberText } from "./collect-texts.ts";
import type { JsonObject, JsonValue } from "./dialect.ts";

/**
 * Says what stands in members that name and count things: ids, models, reports of usage, padding. No model writes
 * them, but whoever writes an answer may write anything there, and a client reads all of it.
 *
 * Words of the APIs themselves say nothing, nor does a number in the place of a count or a time.
 */
export function sayNaming(value: JsonValue | undefined, part: PartDraft): void {
  if (typeof value === "string") {
    if (value !== "" && !API_WORDS.has(value)) part.aside.push(value);
  } else if (typeof value === "number") {
    if (Math.abs(value) >= COUNT_MAX) part.aside.push(numberText(value));
  } else if (typeof value === "object" && value !== null) {
    for (const name of Object.keys(value)) {
      const member = (value as JsonObject)[name] as JsonValue;
      if (Array.isArray(value) || API_WORDS.has(name)) sayNaming(member, part);
      else {
        if (name !== "") part.aside.push(name);
        collectTexts(member, part.aside);
      }
    }
  }
}

/** The same of some members of an object. */
export function sayNamed(object: JsonObject, names: readonly string[], part: PartDraft): void {
  for (const name of names) {
    // Mostly they are not there at all.
    if (object[name] !== undefined) sayNaming(object[name], part);
  }
}

/**
 * Says what a client gives back unread: signatures, what a model thought. It is ciphertext, in which rules for keys of
 * many characters would hit by chance; what is not written as ciphertext is scanned.
 */
export function saySealed(value: JsonValue | undefined, part: PartDraft): void {
  if (value === undefined || (typeof value === "string" && SEALED.test(value))) return;
  collectTexts(value, part.aside);
}

/** As long as the shortest of them, in either alphabet of base64. */
const SEALED = /^(?:[A-Za-z0-9+/]{64,}|[A-Za-z0-9_-]{64,})={0,2}$/;

/** What is as long is a card's number, and no count. */
const COUNT_MAX = 1e12;

const API_WORDS: ReadonlySet<string> = new Set([
  // What it is.
  ...["chat.completion", "chat.completion.chunk", "list", "embedding", "response", "message"],
  ...["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "output_text"],
  ...["reasoning", "reasoning_text", "summary_text", "function", "function_call", "custom"],
  ...["message_start", "message_delta", "message_stop", "ping", "content_block_start"],
  ...["content_block_delta", "content_block_stop", "text_delta", "thinking_delta"],
  ...["input_json_delta", "signature_delta", "citations_delta", "refusal"],
  ...["response.output_text.delta", "response.function_call_arguments.delta"],
  // Whose it is, how far it is, and how it ended.
  ...["assistant", "model", "completed", "in_progress", "incomplete", "stop", "length"],
  ...["tool_calls", "content_filter", "end_turn", "max_tokens", "stop_sequence", "pause_turn"],
  ...["STOP", "MAX_TOKENS", "default", "auto", "flex", "priority", "standard", "batch"],
  // Members of reports.
  ...["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"],
  ...["completion_tokens_details", "cached_tokens", "cache_write_tokens", "audio_tokens"],
  ...["reasoning_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"],
  ...["input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details"],
  ...["cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation"],
  ...["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", "service_tier"],
  ...["promptTokenCount", "candidatesTokenCount", "totalTokenCount", "thoughtsTokenCount"],
  ...["cachedContentTokenCount", "promptTokensDetails", "candidatesTokensDetails", "modality"],
  ...["tokenCount", "TEXT"],
]);
