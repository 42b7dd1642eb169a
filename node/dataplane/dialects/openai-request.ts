import type { Missing } from "../../decision/facts.ts";
import type { JsonObject, JsonValue, ReadRequest } from "./dialect.ts";
import { asObject } from "./json-shape.ts";
import {
  anyNumber,
  count,
  flag,
  freeForm,
  jsonText,
  listOf,
  type MemberReader,
  type MemberTable,
  malformed,
  object,
  only,
  partsOf,
  printable,
  RequestReading,
  readMembers,
  text,
  textOrTexts,
  unpriced,
} from "./request-reading.ts";

/**
 * Reads a Chat Completions request.
 *
 * The tables name every member whose price is known: text in, text out. What reads files, images,
 * sound or the web, what keeps state at the provider, and what buys another tier is not among them.
 *
 * @see https://platform.openai.com/docs/api-reference/chat/create
 */
export function readChatRequest(body: JsonObject): ReadRequest | Missing {
  const reading = new RequestReading();
  readMembers(body, REQUEST, "", reading);
  const { model, messages } = body;
  if (typeof model !== "string") reading.malformed ??= "model";
  if (!Array.isArray(messages) || messages.length === 0) reading.malformed ??= "messages";
  const limits = [body.max_completion_tokens, body.max_tokens].filter(isNumber);
  // With two limits it would be the provider's choice which one bounds the cost.
  if (limits.length === 2 && limits[0] !== limits[1]) reading.malformed ??= "max_tokens";
  if (reading.malformed !== undefined) {
    return { missing: "malformed_request", detail: reading.malformed };
  }
  const stream = body.stream === true;
  return {
    model: model as string,
    stream,
    tools: reading.tools,
    texts: reading.texts,
    messages: (messages as JsonValue[]).length,
    maxOutputTokens: limits[0],
    choices: isNumber(body.n) ? body.n : 1,
    unpricedParameter: reading.unpriced,
    wantsUsage: stream && asObject(body.stream_options)?.include_usage === true,
  };
}

const CHOICES_MAX = 128;

const isNumber = (value: JsonValue | undefined): value is number => typeof value === "number";

const choices: MemberReader = (value, at, reading) => {
  count(1)(value, at, reading);
  if (isNumber(value) && value > CHOICES_MAX) malformed(value, at, reading);
};

/** Text parts alone: others are priced by what is in them, which we cannot see. */
const content: MemberReader = (value, at, reading) => {
  if (typeof value === "string") text(value, at, reading);
  else contentParts(value, at, reading);
};

const contentPart: MemberReader = (value, at, reading) => {
  const part = asObject(value);
  const type = part?.type;
  if (part === undefined || typeof type !== "string") malformed(value, at, reading);
  else if (type === "text") readMembers(part, TEXT_PART, at, reading);
  else if (type === "refusal") readMembers(part, REFUSAL_PART, at, reading);
  else unpriced(value, `${at}.${printable(type)}`, reading);
};

const contentParts = partsOf(contentPart);

const TEXT_PART: MemberTable = new Map([
  ["type", text],
  ["text", text],
]);

const REFUSAL_PART: MemberTable = new Map([
  ["type", text],
  ["refusal", text],
]);

const CALLED: MemberTable = new Map([
  ["name", text],
  ["arguments", jsonText],
  ["input", text],
]);

const TOOL_CALL: MemberTable = new Map([
  ["id", text],
  ["index", anyNumber],
  ["type", text],
  ["function", object(CALLED)],
  ["custom", object(CALLED)],
]);

const MESSAGE: MemberTable = new Map([
  ["role", only("system", "developer", "user", "assistant", "tool", "function")],
  ["content", content],
  ["name", text],
  ["refusal", text],
  ["reasoning", text],
  ["reasoning_content", text],
  ["annotations", freeForm],
  ["tool_call_id", text],
  ["tool_calls", listOf(object(TOOL_CALL))],
  ["function_call", object(CALLED)],
  // A message out of an answer says null; anything else refers to a sound that is stored there.
  ["audio", unpriced],
]);

const message: MemberReader = (value, at, reading) => {
  const members = asObject(value);
  if (members === undefined || typeof members.role !== "string") malformed(value, at, reading);
  else readMembers(members, MESSAGE, at, reading);
};

const FUNCTION: MemberTable = new Map([
  ["name", text],
  ["description", text],
  ["parameters", freeForm],
  ["strict", flag],
]);

const CUSTOM: MemberTable = new Map([
  ["name", text],
  ["description", text],
  ["format", freeForm],
]);

const FUNCTION_TOOL: MemberTable = new Map([
  ["type", text],
  ["function", object(FUNCTION)],
]);

const CUSTOM_TOOL: MemberTable = new Map([
  ["type", text],
  ["custom", object(CUSTOM)],
]);

const tool: MemberReader = (value, at, reading) => {
  const members = asObject(value);
  const type = members?.type;
  if (members === undefined || typeof type !== "string") return malformed(value, at, reading);
  if (type !== "function" && type !== "custom") {
    // A tool that the provider runs: a web search has a price of its own.
    reading.tools.push({ name: undefined });
    return unpriced(value, `${at}.${printable(type)}`, reading);
  }
  const name = asObject(members[type])?.name;
  reading.tools.push({ name: typeof name === "string" ? name : undefined });
  readMembers(members, type === "function" ? FUNCTION_TOOL : CUSTOM_TOOL, at, reading);
};

const legacyFunction: MemberReader = (value, at, reading) => {
  const name = asObject(value)?.name;
  reading.tools.push({ name: typeof name === "string" ? name : undefined });
  object(FUNCTION)(value, at, reading);
};

const STREAM_OPTIONS: MemberTable = new Map([
  ["include_usage", flag],
  ["include_obfuscation", flag],
]);

const REQUEST: MemberTable = new Map<string, MemberReader>([
  ["model", text],
  ["messages", listOf(message)],
  ["stream", flag],
  ["stream_options", object(STREAM_OPTIONS)],
  ["max_completion_tokens", count(1)],
  ["max_tokens", count(1)],
  ["n", choices],
  ["stop", textOrTexts],
  ["temperature", anyNumber],
  ["top_p", anyNumber],
  ["frequency_penalty", anyNumber],
  ["presence_penalty", anyNumber],
  ["seed", anyNumber],
  ["logit_bias", freeForm],
  ["logprobs", flag],
  ["top_logprobs", count(0)],
  ["response_format", freeForm],
  ["tools", listOf(tool)],
  ["tool_choice", freeForm],
  ["parallel_tool_calls", flag],
  ["functions", listOf(legacyFunction)],
  ["function_call", freeForm],
  ["reasoning_effort", text],
  ["verbosity", text],
  ["metadata", freeForm],
  ["user", text],
  ["safety_identifier", text],
  ["prompt_cache_key", text],
  ["modalities", listOf(only("text"))],
  // What "auto" buys is the provider's project setting, as it is when the member is absent.
  ["service_tier", only("auto", "default")],
  ["store", only(false)],
]);
