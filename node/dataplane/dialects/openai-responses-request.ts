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
  unpriced,
} from "./request-reading.ts";

/**
 * Reads a Responses request.
 *
 * The tables name what is priced: text in, text out, functions that the client runs. What refers to
 * state at the provider (an earlier response, a conversation, a stored prompt, an item by its id),
 * what goes on in the background, and tools that the provider runs are not among it.
 *
 * @see https://platform.openai.com/docs/api-reference/responses/create
 */
export function readResponsesRequest(body: JsonObject): ReadRequest | Missing {
  const reading = new RequestReading();
  readMembers(body, REQUEST, "", reading);
  const { model, input, max_output_tokens: limit } = body;
  if (typeof model !== "string") reading.malformed ??= "model";
  if (typeof input !== "string" && !Array.isArray(input)) reading.malformed ??= "input";
  if (reading.malformed !== undefined) {
    return { missing: "malformed_request", detail: reading.malformed };
  }
  return {
    model: model as string,
    stream: body.stream === true,
    tools: reading.tools,
    texts: reading.texts,
    // The instructions are a message too.
    messages: 1 + (Array.isArray(input) ? input.length : 1),
    maxOutputTokens: typeof limit === "number" ? limit : undefined,
    choices: 1,
    unpricedParameter: reading.unpriced,
    // This dialect's streams report usage whether asked or not.
    wantsUsage: true,
  };
}

/** Reads a value by its type, which is one of a table; others have prices of their own. */
function typed(tables: ReadonlyMap<string, MemberTable>): MemberReader {
  return (value, at, reading) => {
    const members = asObject(value);
    const type = members?.type;
    if (members === undefined || typeof type !== "string") return malformed(value, at, reading);
    const table = tables.get(type);
    if (table === undefined) unpriced(value, `${at}.${printable(type)}`, reading);
    else readMembers(members, table, at, reading);
  };
}

const INPUT_TEXT: MemberTable = new Map([
  ["type", text],
  ["text", text],
]);

const contentPart = typed(
  new Map<string, MemberTable>([
    ["input_text", INPUT_TEXT],
    [
      "output_text",
      new Map([
        ["type", text],
        ["text", text],
        ["annotations", freeForm],
        ["logprobs", freeForm],
      ]),
    ],
    [
      "refusal",
      new Map([
        ["type", text],
        ["refusal", text],
      ]),
    ],
  ]),
);

function textOr(part: MemberReader): MemberReader {
  const parts = partsOf(part);
  return (value, at, reading) => (typeof value === "string" ? text : parts)(value, at, reading);
}

const textOrParts = textOr(contentPart);
const output = textOr(typed(new Map([["input_text", INPUT_TEXT]])));

const MESSAGE: MemberTable = new Map([
  ["type", text],
  ["id", text],
  ["status", text],
  ["phase", text],
  ["role", only("user", "assistant", "system", "developer")],
  ["content", textOrParts],
]);

const summary = partsOf(
  object(
    new Map([
      ["type", text],
      ["text", text],
    ]),
  ),
);

const CALL: MemberTable = new Map([
  ["type", text],
  ["id", text],
  ["call_id", text],
  ["status", text],
  ["name", text],
  ["arguments", jsonText],
  ["input", text],
]);

const CALL_OUTPUT: MemberTable = new Map([
  ["type", text],
  ["id", text],
  ["call_id", text],
  ["status", text],
  ["output", output],
]);

const ITEMS: ReadonlyMap<string, MemberTable> = new Map<string, MemberTable>([
  ["message", MESSAGE],
  ["function_call", CALL],
  ["custom_tool_call", CALL],
  ["function_call_output", CALL_OUTPUT],
  ["custom_tool_call_output", CALL_OUTPUT],
  [
    "reasoning",
    new Map([
      ["type", text],
      ["id", text],
      ["status", text],
      ["summary", summary],
      ["content", summary],
      ["encrypted_content", text],
    ]),
  ],
]);

const typedItem = typed(ITEMS);

/** A message may leave its type out; then it has a role, which no reference to an item has. */
const item: MemberReader = (value, at, reading) => {
  const members = asObject(value);
  const isBare = members !== undefined && !isGiven(members.type) && isGiven(members.role);
  if (isBare) readMembers(members, MESSAGE, at, reading);
  else typedItem(value, at, reading);
};

function isGiven(value: JsonValue | undefined): boolean {
  return value !== undefined && value !== null;
}

const FUNCTION_TOOL: MemberTable = new Map([
  ["type", text],
  ["name", text],
  ["description", text],
  ["parameters", freeForm],
  ["strict", flag],
]);

const CUSTOM_TOOL: MemberTable = new Map([
  ["type", text],
  ["name", text],
  ["description", text],
  ["format", freeForm],
]);

const TOOLS: ReadonlyMap<string, MemberTable> = new Map([
  ["function", FUNCTION_TOOL],
  ["custom", CUSTOM_TOOL],
]);

const typedTool = typed(TOOLS);

const tool: MemberReader = (value, at, reading) => {
  const { name, type } = asObject(value) ?? {};
  // One that the provider runs has a name only by chance, and a price of its own.
  const isOurs = typeof type === "string" && TOOLS.has(type) && typeof name === "string";
  reading.tools.push({ name: isOurs ? name : undefined });
  typedTool(value, at, reading);
};

const REASONING: MemberTable = new Map([
  ["effort", text],
  ["summary", text],
  ["generate_summary", text],
]);

const TEXT: MemberTable = new Map([
  ["format", freeForm],
  ["verbosity", text],
]);

const REQUEST: MemberTable = new Map<string, MemberReader>([
  ["model", text],
  ["input", textOr(item)],
  ["instructions", text],
  ["stream", flag],
  ["stream_options", object(new Map([["include_obfuscation", flag]]))],
  ["max_output_tokens", count(1)],
  ["max_tool_calls", count(0)],
  ["temperature", anyNumber],
  ["top_p", anyNumber],
  ["top_logprobs", count(0)],
  ["tools", listOf(tool)],
  ["tool_choice", freeForm],
  ["parallel_tool_calls", flag],
  ["reasoning", object(REASONING)],
  ["text", object(TEXT)],
  ["truncation", only("auto", "disabled")],
  ["include", listOf(only("reasoning.encrypted_content", "message.output_text.logprobs"))],
  ["metadata", freeForm],
  ["user", text],
  ["safety_identifier", text],
  ["prompt_cache_key", text],
  ["background", only(false)],
  ["store", only(false)],
  // What "auto" buys is the provider's project setting, as it is when the member is absent.
  ["service_tier", only("auto", "default")],
]);
