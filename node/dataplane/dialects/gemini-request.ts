import type { Missing } from "../../decision/facts.ts";
import type { JsonObject, ReadRequest } from "./dialect.ts";
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
  only,
  partsOf,
  RequestReading,
  readMembers,
  text,
  unpriced,
} from "./request-reading.ts";

/**
 * Reads a generateContent request.
 *
 * The tables name what is priced: text in, text out, functions that the client runs. Files and data
 * beside text, contents that the provider keeps in a cache, and tools that it runs are not among it.
 *
 * @see https://ai.google.dev/api/generate-content#request-body
 */
export function readGeminiRequest(body: JsonObject, stream: boolean): ReadRequest | Missing {
  const reading = new RequestReading();
  message(REQUEST)(body, "", reading);
  const contents = body.contents;
  if (!Array.isArray(contents) || contents.length === 0) reading.malformed ??= "contents";
  if (reading.malformed !== undefined) {
    return { missing: "malformed_request", detail: reading.malformed };
  }
  const config = asObject(body.generationConfig ?? body.generation_config);
  return {
    model: "",
    stream,
    tools: reading.tools,
    texts: reading.texts,
    // The system instruction is a message too.
    messages: 1 + (contents as readonly unknown[]).length,
    maxOutputTokens: numberOf(config, "maxOutputTokens", "max_output_tokens"),
    choices: numberOf(config, "candidateCount", "candidate_count") ?? 1,
    unpricedParameter: reading.unpriced,
    // This dialect's streams report usage whether asked or not.
    wantsUsage: true,
  };
}

function numberOf(config: JsonObject | undefined, ...names: string[]): number | undefined {
  const given = names.map((name) => config?.[name]).find((value) => typeof value === "number");
  return given as number | undefined;
}

/**
 * An object with the members of a table, whose names may come in either spelling of this API:
 * `systemInstruction` or `system_instruction`. In both, there would be two readings.
 *
 * @see https://protobuf.dev/programming-guides/json/#json-options
 */
function message(table: MemberTable): MemberReader {
  return (value, at, reading) => {
    const members = asObject(value);
    if (members === undefined) return malformed(value, at, reading);
    const spelt = new Map(Object.entries(members).map(([name, one]) => [camelCase(name), one]));
    if (spelt.size < Object.keys(members).length) return malformed(value, at, reading);
    readMembers(Object.fromEntries(spelt), table, at, reading);
  };
}

/** What mixes the spellings (`maxOutput_tokens`) is neither of them, and a name that is not known. */
function camelCase(name: string): string {
  if (!SNAKE_CASE.test(name)) return name;
  return name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

const SNAKE_CASE = /^[a-z0-9]+(?:_[a-z0-9]+)+$/;

const FUNCTION_CALL: MemberTable = new Map([
  ["id", text],
  ["name", text],
  ["args", freeForm],
]);

const FUNCTION_RESPONSE: MemberTable = new Map([
  ["id", text],
  ["name", text],
  ["response", freeForm],
]);

const PART: MemberTable = new Map([
  ["text", text],
  ["thought", flag],
  ["thoughtSignature", text],
  ["functionCall", message(FUNCTION_CALL)],
  ["functionResponse", message(FUNCTION_RESPONSE)],
]);

const CONTENT: MemberTable = new Map([
  ["role", only("user", "model", "system", "function")],
  ["parts", partsOf(message(PART))],
]);

const DECLARATION: MemberTable = new Map([
  ["name", text],
  ["description", text],
  ["parameters", freeForm],
  ["parametersJsonSchema", freeForm],
  ["response", freeForm],
  ["responseJsonSchema", freeForm],
]);

const readDeclaration = message(DECLARATION);

const declaration: MemberReader = (value, at, reading) => {
  const name = asObject(value)?.name;
  reading.tools.push({ name: typeof name === "string" ? name : undefined });
  readDeclaration(value, at, reading);
};

/** Each other kind is run by the provider: search, code, maps. */
const TOOL: MemberTable = new Map([["functionDeclarations", listOf(declaration)]]);
const readTool = message(TOOL);

const tool: MemberReader = (value, at, reading) => {
  const before = reading.unpriced;
  readTool(value, at, reading);
  if (before !== reading.unpriced) reading.tools.push({ name: undefined });
};

const CALLING: MemberTable = new Map([
  ["mode", text],
  ["allowedFunctionNames", listOf(text)],
]);

const TOOL_CONFIG: MemberTable = new Map([["functionCallingConfig", message(CALLING)]]);

const THINKING: MemberTable = new Map([
  ["includeThoughts", flag],
  ["thinkingBudget", anyNumber],
  ["thinkingLevel", text],
]);

const CANDIDATES_MAX = 128;

const candidates: MemberReader = (value, at, reading) => {
  count(1)(value, at, reading);
  if (typeof value === "number" && value > CANDIDATES_MAX) malformed(value, at, reading);
};

const CONFIG: MemberTable = new Map<string, MemberReader>([
  ["maxOutputTokens", count(1)],
  ["candidateCount", candidates],
  ["temperature", anyNumber],
  ["topP", anyNumber],
  ["topK", anyNumber],
  ["seed", anyNumber],
  ["presencePenalty", anyNumber],
  ["frequencyPenalty", anyNumber],
  ["stopSequences", listOf(text)],
  ["responseMimeType", text],
  ["responseSchema", freeForm],
  ["responseJsonSchema", freeForm],
  ["responseLogprobs", flag],
  ["logprobs", count(0)],
  ["thinkingConfig", message(THINKING)],
  // Pictures and speech have prices of their own.
  ["responseModalities", listOf(only("TEXT"))],
]);

const SAFETY: MemberTable = new Map([
  ["category", text],
  ["threshold", text],
]);

const REQUEST: MemberTable = new Map<string, MemberReader>([
  ["contents", listOf(message(CONTENT))],
  ["systemInstruction", message(CONTENT)],
  ["tools", listOf(tool)],
  ["toolConfig", message(TOOL_CONFIG)],
  ["safetySettings", listOf(message(SAFETY))],
  ["generationConfig", message(CONFIG)],
  // It names content that the provider holds, and whose size nobody here knows.
  ["cachedContent", unpriced],
]);
