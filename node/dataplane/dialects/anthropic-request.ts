import type { Missing } from "../../decision/facts.ts";
import type { JsonObject, JsonValue, ReadRequest } from "./dialect.ts";
import { asObject } from "./json-shape.ts";
import {
  anyNumber,
  count,
  flag,
  freeForm,
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
 * Reads a Messages request.
 *
 * As for the other dialect, the tables name what is priced: text in, text out, and a cache that is
 * kept for five minutes. Longer caches, other regions and faster tiers have other prices; images and
 * files have a price that depends on what is in them; tools that the provider runs have their own.
 *
 * @see https://docs.anthropic.com/en/api/messages
 */
export function readMessagesRequest(body: JsonObject): ReadRequest | Missing {
  return readByTable(body, REQUEST);
}

/**
 * Reads a request to count the tokens of one: the members that make up the input, and no others.
 *
 * @see https://docs.anthropic.com/en/api/messages-count-tokens
 */
export function readCountRequest(body: JsonObject): ReadRequest | Missing {
  const read = readByTable(body, COUNTED);
  return "missing" in read ? read : { ...read, maxOutputTokens: 0, unbilled: true };
}

function readByTable(body: JsonObject, table: MemberTable): ReadRequest | Missing {
  const reading = new RequestReading();
  readMembers(body, table, "", reading);
  const { model, messages, max_tokens: maxTokens } = body;
  if (typeof model !== "string") reading.malformed ??= "model";
  if (!Array.isArray(messages) || messages.length === 0) reading.malformed ??= "messages";
  if (reading.malformed !== undefined) {
    return { missing: "malformed_request", detail: reading.malformed };
  }
  return {
    model: model as string,
    stream: body.stream === true,
    tools: reading.tools,
    texts: reading.texts,
    messages: (messages as JsonValue[]).length,
    maxOutputTokens: typeof maxTokens === "number" ? maxTokens : undefined,
    choices: 1,
    unpricedParameter: reading.unpriced,
    // This dialect's streams report usage whether asked or not.
    wantsUsage: true,
  };
}

const CACHE_CONTROL: MemberTable = new Map([
  ["type", only("ephemeral")],
  ["ttl", only("5m")],
]);

const cacheControl = object(CACHE_CONTROL);

const TEXT_BLOCK: MemberTable = new Map([
  ["type", text],
  ["text", text],
  ["cache_control", cacheControl],
  ["citations", freeForm],
]);

/** Reads a block by its type, which is one of a table. */
function blockOf(blocks: ReadonlyMap<string, MemberTable>): MemberReader {
  return (value, at, reading) => {
    const block = asObject(value);
    const type = block?.type;
    if (block === undefined || typeof type !== "string") return malformed(value, at, reading);
    const table = blocks.get(type);
    if (table === undefined) unpriced(value, `${at}.${printable(type)}`, reading);
    else readMembers(block, table, at, reading);
  };
}

/** A string, or a list of blocks. */
function textOrBlocks(block: MemberReader): MemberReader {
  const blocks = partsOf(block);
  return (value, at, reading) => (typeof value === "string" ? text : blocks)(value, at, reading);
}

const textBlock = blockOf(new Map([["text", TEXT_BLOCK]]));

const DOCUMENT_SOURCE: MemberReader = (value, at, reading) => {
  const type = asObject(value)?.type;
  if (type === "text") object(TEXT_SOURCE)(value, at, reading);
  else if (type === "content") object(CONTENT_SOURCE)(value, at, reading);
  else unpriced(value, at, reading);
};

const TEXT_SOURCE: MemberTable = new Map([
  ["type", text],
  ["media_type", only("text/plain")],
  ["data", text],
]);

const CONTENT_SOURCE: MemberTable = new Map([
  ["type", text],
  ["content", textOrBlocks(textBlock)],
]);

const DOCUMENT: MemberTable = new Map([
  ["type", text],
  ["source", DOCUMENT_SOURCE],
  ["title", text],
  ["context", text],
  ["citations", freeForm],
  ["cache_control", cacheControl],
]);

const SEARCH_RESULT: MemberTable = new Map([
  ["type", text],
  ["content", partsOf(textBlock)],
  ["source", text],
  ["title", text],
  ["citations", freeForm],
  ["cache_control", cacheControl],
]);

const RESULT_BLOCKS: ReadonlyMap<string, MemberTable> = new Map([
  ["text", TEXT_BLOCK],
  ["document", DOCUMENT],
  ["search_result", SEARCH_RESULT],
]);

const CONTENT_BLOCKS: ReadonlyMap<string, MemberTable> = new Map<string, MemberTable>([
  ...RESULT_BLOCKS,
  [
    "thinking",
    new Map([
      ["type", text],
      ["thinking", text],
      ["signature", text],
    ]),
  ],
  [
    "redacted_thinking",
    new Map([
      ["type", text],
      ["data", text],
    ]),
  ],
  [
    "tool_use",
    new Map([
      ["type", text],
      ["id", text],
      ["name", text],
      ["input", freeForm],
      ["cache_control", cacheControl],
    ]),
  ],
  [
    "tool_result",
    new Map([
      ["type", text],
      ["tool_use_id", text],
      ["content", textOrBlocks(blockOf(RESULT_BLOCKS))],
      ["is_error", flag],
      ["cache_control", cacheControl],
    ]),
  ],
]);

const MESSAGE: MemberTable = new Map([
  ["role", only("user", "assistant")],
  ["content", textOrBlocks(blockOf(CONTENT_BLOCKS))],
]);

const message: MemberReader = (value, at, reading) => {
  const members = asObject(value);
  if (members === undefined || typeof members.role !== "string") malformed(value, at, reading);
  else readMembers(members, MESSAGE, at, reading);
};

const TOOL: MemberTable = new Map([
  ["type", text],
  ["name", text],
  ["description", text],
  ["input_schema", freeForm],
  ["input_examples", freeForm],
  ["cache_control", cacheControl],
  ["strict", flag],
  ["eager_input_streaming", flag],
]);

const tool: MemberReader = (value, at, reading) => {
  const members = asObject(value);
  if (members === undefined) return malformed(value, at, reading);
  const { name, type } = members;
  reading.tools.push({ name: typeof name === "string" ? name : undefined });
  // A tool that the provider defines brings a prompt of its own, or is run and billed there.
  if (type !== undefined && type !== null && type !== "custom") {
    return unpriced(value, `${at}.${printable(String(type))}`, reading);
  }
  readMembers(members, TOOL, at, reading);
};

const THINKING: MemberTable = new Map([
  ["type", only("enabled", "disabled", "adaptive")],
  ["budget_tokens", count(0)],
  ["display", text],
]);

const OUTPUT_CONFIG: MemberTable = new Map([
  ["effort", text],
  ["format", freeForm],
]);

const METADATA: MemberTable = new Map([["user_id", text]]);

const REQUEST: MemberTable = new Map<string, MemberReader>([
  ["model", text],
  ["messages", listOf(message)],
  ["system", textOrBlocks(textBlock)],
  ["max_tokens", count(0)],
  ["stream", flag],
  ["stop_sequences", listOf(text)],
  ["temperature", anyNumber],
  ["top_p", anyNumber],
  ["top_k", anyNumber],
  ["metadata", object(METADATA)],
  ["tools", listOf(tool)],
  ["tool_choice", freeForm],
  ["thinking", object(THINKING)],
  ["output_config", object(OUTPUT_CONFIG)],
  ["cache_control", cacheControl],
  // What "auto" buys is the workspace's setting, as it is when the member is absent.
  ["service_tier", only("auto", "standard_only")],
  ["speed", only("standard")],
]);

const COUNTED_MEMBERS = new Set([
  ...["model", "messages", "system", "tools", "tool_choice", "thinking"],
  ...["output_config", "cache_control"],
]);

const COUNTED: MemberTable = new Map([...REQUEST].filter(([name]) => COUNTED_MEMBERS.has(name)));
