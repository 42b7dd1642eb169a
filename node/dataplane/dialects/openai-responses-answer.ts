import { parseStrictText } from "../strict-json.ts";
import { type AnswerPart, type AnswerReader, PartDraft, sayStrings } from "./answer-part.ts";
import type { CallGiven } from "./call-part.ts";
import { collectOthers, collectTexts } from "./collect-texts.ts";
import type { JsonObject, JsonValue, Usage } from "./dialect.ts";
import { foldedName, isSpeltOtherwise } from "./folded-names.ts";
import { ANSWER_DEPTH_MAX, asIndex, asObject } from "./json-shape.ts";
import { sayNamed, sayNaming, saySealed } from "./say-naming.ts";
import { tokenCount } from "./usage.ts";

/** Members of a response that name and count things. */
const NAMING = [
  ...["id", "object", "created_at", "completed_at", "status", "model", "usage", "service_tier"],
  "previous_response_id",
] as const;

/** What the request said is said again, and was judged as a request. */
const ECHO = [
  ...["instructions", "tools", "tool_choice", "metadata", "text", "reasoning", "user"],
  ...["truncation", "safety_identifier", "prompt_cache_key", "store"],
] as const;

const ENVELOPE: ReadonlySet<string> = new Set([...NAMING, ...ECHO, "output"]);

/** Texts of an item are said, or are complete in an event that repeats them. */
type Say = (part: PartDraft, at: SaidAt, text: JsonValue) => void;
type SaidAt = { readonly group: string; readonly channel: string; readonly joined?: string };

const sayAside: Say = (part, _at, text) => collectTexts(text, part.aside);
const sayText: Say = (part, { group, channel, joined }, text) =>
  sayStrings(part, text, { channel: `${group}.${channel}`, group, phase: 0, joined });

/** What SDKs put together of all messages of a response, whatever stands between them. */
const OUTPUT_TEXT = "output_text";

/**
 * Reads a whole response.
 *
 * @see https://platform.openai.com/docs/api-reference/responses/object
 */
export function readResponsesAnswer(body: JsonValue): AnswerPart | undefined {
  const part = new PartDraft();
  return readResponse(asObject(body), sayText, part) ? part : undefined;
}

/**
 * Reads the events of a streamed response.
 *
 * Most texts come twice or more: in deltas, and whole when they are complete. The deltas are one
 * text, and each repetition is scanned as it stands, since a client may read any of them.
 *
 * @see https://platform.openai.com/docs/api-reference/responses-streaming
 */
export function responsesStreamReader(): AnswerReader {
  const calls: OpenedCalls = new Map();
  return {
    frame: (event, data, kept) => {
      const parsed = parseStrictText(data, { depthMax: ANSWER_DEPTH_MAX, mustRoundTrip: false });
      const members = "value" in parsed ? asObject(parsed.value) : undefined;
      const type = members?.type;
      if (members === undefined || typeof type !== "string") return undefined;
      // SDKs go by the type, others by the event's name: one reading is left when they agree.
      if ((event ?? kept ?? type) !== type) return undefined;
      const part = new PartDraft();
      return readEvent(type, members, part, calls) ? part : undefined;
    },
  };
}

/** Items that call a tool, by their place in the output: what they are called by and their id. */
type OpenedCalls = Map<number, { readonly name: string; readonly id: JsonValue | undefined }>;

function readEvent(type: string, event: JsonObject, part: PartDraft, calls: OpenedCalls): boolean {
  if (foldedName(Object.keys(event), EVENT_NAMES) !== undefined) return false;
  sayNamed(event, EVENT_NAMING, part);
  collectOthers(event, envelopeOf(type), part.aside);
  switch (type) {
    case "error":
    case "response.failed":
      part.failed = true;
      return true;
    case "response.completed":
    case "response.incomplete":
      part.last = true;
      return readResponse(asObject(event.response), sayAside, part);
    case "response.output_item.added":
      return readOpened(event, part, calls);
    case "response.output_item.done":
      return readClosed(event, part, calls);
    default:
      return readOtherEvent(type, event, part, calls);
  }
}

function readOtherEvent(
  type: string,
  event: JsonObject,
  part: PartDraft,
  calls: OpenedCalls,
): boolean {
  const response = asObject(event.response);
  if (LIFE_EVENTS.has(type)) {
    return isBare(response?.output) && readResponse(response, sayAside, part);
  }
  if (type.endsWith(".delta")) return readDelta(type, event, part, calls);
  // Clients put deltas behind the text that a part begins with.
  const begun = asObject(event.part) ?? {};
  if (foldedName(Object.keys(begun), CONTENT_NAMES) !== undefined) return false;
  if (type.endsWith(".added") && !isBare(begun.text)) return false;
  return event.arguments === undefined || readArguments(event, part, calls);
}

/** The arguments of a call, once they are whole, are said again, mostly with the call's name. */
function readArguments(event: JsonObject, part: PartDraft, calls: OpenedCalls): boolean {
  const { name, output_index: at } = event;
  if (typeof name === "string") part.toolNames.push(name);
  const opened = calls.get(asIndex(at) ?? NOWHERE);
  if (typeof event.arguments === "string") part.sayAsideJson(event.arguments);
  const names = [opened?.name, name].filter((one) => typeof one === "string");
  part.calls.push({ kind: "whole", names, given: writtenIn(event) });
  if (opened !== undefined) part.calls.push({ kind: "end", call: String(at), names });
  return true;
}

const NOWHERE = -1;

/** Arguments are JSON text; what a tool takes as it is, or runs by itself, no rule can speak of. */
function writtenIn({ arguments: given }: JsonObject): CallGiven {
  return typeof given === "string" ? { text: given } : { isRaw: true };
}

/** Nothing yet: a text or a list that its deltas will fill. */
function isBare(value: JsonValue | undefined): boolean {
  if (value === undefined || value === null || value === "") return true;
  return Array.isArray(value) && value.length === 0;
}

function readResponse(response: JsonObject | undefined, say: Say, part: PartDraft): boolean {
  if (response === undefined) return false;
  const output = response.output ?? [];
  // What is said again of the request's text settings is an object; a text would be somebody's words.
  if (!Array.isArray(output) || typeof response.text === "string") return false;
  for (const [index, item] of output.entries()) {
    if (!readItem(asObject(item), String(index), say, part)) return false;
    sayCall(asObject(item), part);
  }
  // As SDKs have it of a streamed response's last event, in the order of the list and not of the deltas.
  if (say === sayAside) part.aside.push(...outputText(output));
  sayNamed(response, NAMING, part);
  if (!collectOthers(response, ENVELOPE, part.aside)) return false;
  part.usage = readUsage(response.usage);
  return true;
}

/** The text that SDKs join of all parts, where there are several. */
function outputText(output: readonly JsonValue[]): readonly string[] {
  const texts: string[] = [];
  for (const item of output) {
    const content = asObject(item)?.content;
    for (const one of Array.isArray(content) ? content : []) {
      const { type, text } = asObject(one) ?? {};
      if (type === OUTPUT_TEXT && typeof text === "string") texts.push(text);
    }
  }
  return texts.length > 1 ? [texts.join("")] : [];
}

/**
 * An item that begins: its tool's name is known before its arguments come. It must be empty still,
 * for clients put its deltas behind what it begins with.
 */
function readOpened(event: JsonObject, part: PartDraft, calls: OpenedCalls): boolean {
  const item = asObject(event.item) ?? {};
  const name = calledBy(item);
  part.beginsOther = item.type !== "message";
  if (name !== undefined) calls.set(asIndex(event.output_index) ?? NOWHERE, { name, id: item.id });
  return FILLED_LATER.every((name) => isBare(item[name])) && readIndexed(event, part);
}

const FILLED_LATER = ["content", "summary", "arguments", "input"];

function readClosed(event: JsonObject, part: PartDraft, calls: OpenedCalls): boolean {
  const { output_index: at } = event;
  part.endedGroups.push(String(at));
  if (!readIndexed(event, part)) return false;
  sayCall(asObject(event.item), part);
  const opened = calls.get(asIndex(at) ?? NOWHERE);
  if (opened !== undefined) {
    part.calls.push({ kind: "end", call: String(at), names: [opened.name] });
  }
  return true;
}

/** A call in an item that is complete. */
function sayCall(item: JsonObject | undefined, part: PartDraft): void {
  const name = item && calledBy(item);
  if (name === undefined) return;
  part.calls.push({ kind: "whole", names: [name], given: writtenIn(item as JsonObject) });
}

/** What an item calls; a tool of the provider's own has no name beside its type. */
function calledBy({ type, name }: JsonObject): string | undefined {
  if (typeof type !== "string" || !type.endsWith(CALL)) return undefined;
  return typeof name === "string" ? name : type;
}

function readIndexed(event: JsonObject, part: PartDraft): boolean {
  const index = asIndex(event.output_index);
  if (index === undefined) return false;
  return readItem(asObject(event.item), String(index), sayAside, part);
}

/** Some servers take the id of a call out of what the model wrote. */
const ITEM_NAMING = ["type", "id", "status", "role", "call_id"] as const;
const ITEM_ENVELOPE: ReadonlySet<string> = new Set([...ITEM_NAMING, "encrypted_content"]);

const ITEM_NAMES = new Set(["content", "summary", "name", "arguments", "input", "output"]);
const ALL_ITEM_NAMES = new Set([...ITEM_ENVELOPE, ...ITEM_NAMES]);

function readItem(item: JsonObject | undefined, group: string, say: Say, part: PartDraft): boolean {
  const type = item?.type;
  if (item === undefined || typeof type !== "string") return false;
  if (type.endsWith(CALL)) {
    const { name } = item;
    if (name !== undefined && (typeof name !== "string" || name === "")) return false;
    part.toolNames.push(name ?? type);
  }
  sayNamed(item, ITEM_NAMING, part);
  saySealed(item.encrypted_content ?? undefined, part);
  for (const member of Object.keys(item)) {
    const value = item[member] as JsonValue;
    if (ITEM_ENVELOPE.has(member) || value === null) continue;
    if (isSpeltOtherwise(member, ALL_ITEM_NAMES)) return false;
    if (!ITEM_NAMES.has(member)) part.aside.push(member);
    // Beside what is said of it below, as it is written.
    if (member === "arguments" && typeof value === "string") part.sayAsideJson(value);
    if (Array.isArray(value)) {
      for (const [index, one] of value.entries()) {
        const at = { group, channel: `${member}.${index}` };
        if (!readContent(one, at, say, part)) return false;
      }
    } else {
      say(part, { group, channel: member }, value);
    }
  }
  return true;
}

/** Every kind of item that calls a tool, whoever runs it, has a type that ends so. */
const CALL = "_call";

const CONTENT_ENVELOPE = new Set(["type", "annotations", "logprobs"]);
const CONTENT_NAMES = new Set([...CONTENT_ENVELOPE, "text", "refusal"]);

function readContent(value: JsonValue, at: SaidAt, say: Say, part: PartDraft): boolean {
  const content = asObject(value);
  if (content === undefined) say(part, at, value);
  for (const name of Object.keys(content ?? {})) {
    const member = content?.[name] as JsonValue;
    if (isSpeltOtherwise(name, CONTENT_NAMES)) return false;
    if (name === "type") {
      sayNaming(member, part);
      continue;
    }
    if (!CONTENT_NAMES.has(name)) part.aside.push(name);
    if (CONTENT_ENVELOPE.has(name)) collectTexts(member, part.aside);
    else if (name !== "text" || content?.type !== OUTPUT_TEXT) {
      say(part, { ...at, channel: `${at.channel}.${name}` }, member);
    } else say(part, { ...at, channel: `${at.channel}.text`, joined: OUTPUT_TEXT }, member);
  }
  return true;
}

/** Members of an event that say where it belongs. */
const EVENT_NAMING = [
  ...["type", "item_id", "output_index", "content_index", "summary_index", "annotation_index"],
  ...["sequence_number", "obfuscation"],
] as const;
const EVENT_ENVELOPE: ReadonlySet<string> = new Set(EVENT_NAMING);
/** All that is read of one, by its type. */
const EVENT_NAMES = new Set([
  ...[...EVENT_NAMING, "delta", "item", "response", "part", "name", "arguments", "input"],
  ...["text", "refusal"],
]);

const DELTA_ENVELOPE = new Set([...EVENT_ENVELOPE, "delta"]);
const ITEM_EVENT_ENVELOPE = new Set([...EVENT_ENVELOPE, "item"]);
const RESPONSE_EVENT_ENVELOPE = new Set([...EVENT_ENVELOPE, "response"]);

/** With the one that is read for what it is. */
function envelopeOf(type: string): ReadonlySet<string> {
  if (type.endsWith(".delta")) return DELTA_ENVELOPE;
  if (type.startsWith("response.output_item.")) return ITEM_EVENT_ENVELOPE;
  return LIFE_EVENTS.has(type) ? RESPONSE_EVENT_ENVELOPE : EVENT_ENVELOPE;
}

/** Events that carry the whole response as it is by then. */
const LIFE_EVENTS: ReadonlySet<string> = new Set(
  ["created", "queued", "in_progress", "completed", "incomplete", "failed"].map(
    (state) => `response.${state}`,
  ),
);

function readDelta(type: string, event: JsonObject, part: PartDraft, calls: OpenedCalls): boolean {
  const index = asIndex(event.output_index);
  const { delta } = event;
  if (index === undefined || typeof delta !== "string") return false;
  const group = String(index);
  const inner = String(event.content_index ?? event.summary_index ?? 0);
  const isJson = type.endsWith(ARGUMENTS_DELTA);
  const joined = type === `response.${OUTPUT_TEXT}.delta` ? OUTPUT_TEXT : undefined;
  const at = { channel: `${group}.${type}.${inner}`, group, phase: 0, joined };
  part.say({ ...at, text: delta, ...(isJson && { isJson }) });
  const opened = calls.get(index);
  if (delta === "" || (opened === undefined && !isJson)) return true;
  // Some clients go by the place and others by the id: one reading is left when they agree.
  if ([...calls.values()].some((one) => one !== opened && one.id === event.item_id)) return false;
  const names = opened === undefined ? [] : [opened.name];
  const given: CallGiven = isJson ? { text: delta } : { isRaw: true };
  part.calls.push({ kind: "piece", call: group, names, given });
  return true;
}

const ARGUMENTS_DELTA = "_arguments.delta";

function readUsage(value: JsonValue | undefined): Usage | undefined {
  const usage = asObject(value);
  // A report without one of the two has counted nothing: the hold is charged.
  if (typeof usage?.input_tokens !== "number" || typeof usage.output_tokens !== "number") {
    return undefined;
  }
  const details = asObject(usage.input_tokens_details);
  const input = tokenCount(usage.input_tokens);
  const cached = tokenCount(details?.cached_tokens);
  const written = tokenCount(details?.cache_write_tokens);
  const output = tokenCount(usage.output_tokens);
  if (input === undefined || cached === undefined) return undefined;
  if (written === undefined || output === undefined) return undefined;
  return {
    // This provider's figure for input holds the cached part; ours do not overlap.
    inputTokens: Math.max(0, input - cached - written),
    cachedInputTokens: cached,
    cacheWriteTokens: written,
    outputTokens: output,
  };
}
