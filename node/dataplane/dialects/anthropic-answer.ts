import { parseStrictText } from "../strict-json.ts";
import {
  type AnswerPart,
  type AnswerReader,
  PartDraft,
  sayStrings,
  type TextPiece,
} from "./answer-part.ts";
import type { CallGiven } from "./call-part.ts";
import { collectOthers, collectTexts } from "./collect-texts.ts";
import type { JsonObject, JsonValue, Usage } from "./dialect.ts";
import { isSpeltOtherwise } from "./folded-names.ts";
import { ANSWER_DEPTH_MAX, asIndex, asObject } from "./json-shape.ts";
import { sayNamed, sayNaming, saySealed } from "./say-naming.ts";
import { tokenCount } from "./usage.ts";

/** Members of a message that name and count things. */
const NAMING = ["id", "type", "role", "model", "usage", "stop_reason"] as const;
const ENVELOPE: ReadonlySet<string> = new Set([...NAMING, "content"]);

/** Some servers take the id of a call out of what the model wrote. */
const BLOCK_NAMING = ["type", "id"] as const;
const BLOCK_ENVELOPE: ReadonlySet<string> = new Set([...BLOCK_NAMING, "signature"]);
const BLOCK_NAMES = new Set([...BLOCK_ENVELOPE, "name", "input", "text", "thinking"]);

/** Every kind of block that calls a tool, whoever runs it, has a name that ends so. */
const TOOL_USE = "tool_use";

/**
 * Reads a whole message.
 *
 * @see https://docs.anthropic.com/en/api/messages
 */
export function readMessagesAnswer(body: JsonValue): AnswerPart | undefined {
  const message = asObject(body);
  const content = message?.content;
  if (message?.type !== "message" || !Array.isArray(content)) return undefined;
  const part = new PartDraft();
  for (const [position, one] of content.entries()) {
    const block = asObject(one);
    if (block === undefined || !readBlock(block, String(position), part)) return undefined;
    const names = calledBy(block);
    if (names.length > 0) part.calls.push({ kind: "whole", names, given: inputOf(block) });
  }
  sayNamed(message, NAMING, part);
  if (!collectOthers(message, ENVELOPE, part.aside)) return undefined;
  part.usage = readUsage(message.usage, ["input_tokens", "output_tokens"]);
  return part;
}

/**
 * Reads the events of a streamed message.
 *
 * An event of a kind that is not known here is let pass when its texts are clean: the provider adds
 * kinds, and its SDKs skip what they do not know.
 *
 * @see https://docs.anthropic.com/en/docs/build-with-claude/streaming
 */
export function messagesStreamReader(): AnswerReader {
  const calls = new Map<string, StreamedCall>();
  return {
    frame: (event, data, kept) => {
      const parsed = parseStrictText(data, { depthMax: ANSWER_DEPTH_MAX, mustRoundTrip: false });
      const members = "value" in parsed ? asObject(parsed.value) : undefined;
      const type = members?.type;
      if (members === undefined || typeof type !== "string") return undefined;
      // SDKs go by the event's name, others by the type: one reading is left when they agree.
      if ((event ?? kept ?? type) !== type) return undefined;
      const part = new PartDraft();
      return readEvent(type, members, part, calls) ? part : undefined;
    },
  };
}

/** The call of one block. */
type StreamedCall = {
  readonly names: readonly string[];
  /** Its arguments stood in the event that began it; what comes after counts as well. */
  readonly isBegunWhole: boolean;
  hasPieces: boolean;
};

type StreamedCalls = Map<string, StreamedCall>;

type ReadMembers = ReadonlyMap<string, ReadonlySet<string>>;

/** Members of an event that are read for what they are, by its type. */
const EVENTS: ReadMembers = readMembers({
  ping: [],
  error: ["error"],
  message_start: ["message"],
  content_block_start: ["index", "content_block"],
  content_block_delta: ["index", "delta"],
  content_block_stop: ["index"],
  message_delta: ["delta", "usage"],
  message_stop: [],
});

/** The same of a delta: what is named like one and is none has all its members scanned. */
const DELTAS: ReadMembers = readMembers({
  text_delta: ["text"],
  thinking_delta: ["thinking"],
  input_json_delta: ["partial_json"],
  signature_delta: ["signature"],
  citations_delta: ["citation"],
});

function readMembers(of: Readonly<Record<string, readonly string[]>>): ReadMembers {
  return new Map(
    Object.entries(of).map(([type, members]) => [type, new Set(["type", ...members])]),
  );
}

function readEvent(
  type: string,
  event: JsonObject,
  part: PartDraft,
  calls: StreamedCalls,
): boolean {
  sayNamed(event, EVENT_NAMING, part);
  if (!collectOthers(event, EVENTS.get(type) ?? EVENT_ENVELOPE, part.aside)) return false;
  switch (type) {
    case "ping":
      return true;
    case "error":
      part.failed = true;
      return true;
    case "message_start":
      return readStart(asObject(event.message), part);
    case "content_block_start":
      return readBlockStart(event, part, calls);
    case "content_block_delta":
      return readBlockDelta(event, part, calls);
    case "content_block_stop":
      return readBlockStop(event, part, calls);
    case "message_delta":
      return readEnd(event, part);
    case "message_stop":
      part.last = true;
      return true;
    default:
      return true;
  }
}

function readEnd(event: JsonObject, part: PartDraft): boolean {
  const delta = asObject(event.delta ?? {});
  if (delta === undefined) return false;
  sayNaming(delta.stop_reason, part);
  if (!collectOthers(delta, END_ENVELOPE, part.aside)) return false;
  part.usage = readUsage(event.usage, ["output_tokens"]);
  return true;
}

const EVENT_NAMING = ["type", "index", "usage"] as const;
const EVENT_ENVELOPE: ReadonlySet<string> = new Set(EVENT_NAMING);

const END_ENVELOPE = new Set(["stop_reason"]);

function readStart(message: JsonObject | undefined, part: PartDraft): boolean {
  if (message === undefined) return false;
  const content = message.content;
  // Content comes in blocks of its own; here it would pass unread.
  if (content !== undefined && !(Array.isArray(content) && content.length === 0)) return false;
  sayNamed(message, NAMING, part);
  if (!collectOthers(message, ENVELOPE, part.aside)) return false;
  part.usage = readUsage(message.usage, ["input_tokens"]);
  return true;
}

function readBlockStart(event: JsonObject, part: PartDraft, calls: StreamedCalls): boolean {
  const index = asIndex(event.index);
  const block = asObject(event.content_block);
  if (index === undefined || block === undefined) return false;
  const group = String(index);
  part.beginsOther = block.type !== "text";
  if (!readBlock(block, group, part)) return false;
  const names = calledBy(block);
  if (names.length === 0) return true;
  const isBegunWhole = Object.keys(asObject(block.input) ?? {}).length > 0;
  if (isBegunWhole) part.calls.push({ kind: "whole", names, given: inputOf(block) });
  calls.set(group, { names, isBegunWhole, hasPieces: false });
  return true;
}

/** The tool that a block calls, whoever runs it. */
function calledBy({ type, name }: JsonObject): readonly string[] {
  return typeof type === "string" && type.endsWith(TOOL_USE) ? [name as string] : [];
}

function inputOf({ input }: JsonObject): CallGiven {
  return { value: input ?? {} };
}

function readBlock(block: JsonObject, group: string, part: PartDraft): boolean {
  const { type, name, text, thinking } = block;
  if (typeof type !== "string") return false;
  sayNamed(block, BLOCK_NAMING, part);
  saySealed(block.signature, part);
  if (type.endsWith(TOOL_USE)) {
    if (typeof name !== "string" || name === "") return false;
    part.toolNames.push(name);
    part.say({ channel: `${group}.name`, group, phase: 0, text: name });
    return others(block, ["name"], part);
  }
  if (type === "text")
    return say(part, group, "text", text, SPOKEN) && others(block, ["text"], part);
  if (type === "thinking") {
    return say(part, group, "thinking", thinking) && others(block, ["thinking"], part);
  }
  return others(block, [], part);
}

function readBlockDelta(event: JsonObject, part: PartDraft, calls: StreamedCalls): boolean {
  const index = asIndex(event.index);
  const delta = asObject(event.delta);
  if (index === undefined || delta === undefined) return false;
  const group = String(index);
  const { type, text, thinking, partial_json: json } = delta;
  const known = typeof type === "string" ? DELTAS.get(type) : undefined;
  if (known !== undefined && !collectOthers(delta, known, part.aside)) return false;
  sayNaming(type, part);
  switch (type) {
    case "text_delta":
      return say(part, group, "text", text, { ...PROSE, ...SPOKEN });
    case "thinking_delta":
      return say(part, group, "thinking", thinking, PROSE);
    case "input_json_delta":
      // A tool's name is complete when its input begins.
      return sayInput(part, group, json, calls);
    case "signature_delta":
      saySealed(delta.signature, part);
      return true;
    case "citations_delta":
      collectTexts(delta.citation ?? null, part.aside);
      return true;
    default:
      if (typeof type !== "string") return false;
      sayStrings(part, { ...delta, type: null }, { channel: `${group}.${type}`, group, phase: 0 });
      return true;
  }
}

function sayInput(
  part: PartDraft,
  group: string,
  text: JsonValue | undefined,
  calls: StreamedCalls,
): boolean {
  if (typeof text !== "string") return false;
  part.say({ channel: `${group}.input`, group, phase: 1, text, isJson: true });
  if (text === "") return true;
  const call = calls.get(group);
  if (call !== undefined) call.hasPieces = true;
  const names = call?.names ?? [];
  part.calls.push({ kind: "piece", call: group, names, given: { text } });
  return true;
}

function readBlockStop(event: JsonObject, part: PartDraft, calls: StreamedCalls): boolean {
  const index = asIndex(event.index);
  if (index === undefined) return false;
  const group = String(index);
  part.endedGroups.push(group);
  const call = calls.get(group);
  if (call === undefined || (call.isBegunWhole && !call.hasPieces)) return true;
  part.calls.push({ kind: "end", call: group, names: call.names });
  return true;
}

function say(
  part: PartDraft,
  group: string,
  channel: string,
  text: JsonValue | undefined,
  of: Pick<TextPiece, "isProse" | "joined"> = {},
): boolean {
  if (typeof text !== "string") return false;
  part.say({ channel: `${group}.${channel}`, group, phase: 0, text, ...of });
  return true;
}

const PROSE: Pick<TextPiece, "isProse"> = { isProse: true };
/** A text with sources comes in blocks, cut where they change; whoever shows it puts them together. */
const SPOKEN: Pick<TextPiece, "joined"> = { joined: "text" };

function others(block: JsonObject, known: readonly string[], part: PartDraft): boolean {
  for (const name of Object.keys(block)) {
    if (BLOCK_ENVELOPE.has(name) || known.includes(name)) continue;
    if (isSpeltOtherwise(name, BLOCK_NAMES)) return false;
    if (name !== "") part.aside.push(name);
    collectTexts(block[name] as JsonValue, part.aside);
  }
  return true;
}

/** @param needed Counts without which a report has counted nothing, so that the hold is charged. */
function readUsage(value: JsonValue | undefined, needed: readonly string[]): Usage | undefined {
  const usage = asObject(value);
  if (usage === undefined || needed.some((name) => typeof usage[name] !== "number")) {
    return undefined;
  }
  const input = tokenCount(usage.input_tokens);
  const cached = tokenCount(usage.cache_read_input_tokens);
  const written = tokenCount(usage.cache_creation_input_tokens);
  const output = tokenCount(usage.output_tokens);
  if (input === undefined || cached === undefined) return undefined;
  if (written === undefined || output === undefined) return undefined;
  return {
    inputTokens: input,
    cachedInputTokens: cached,
    cacheWriteTokens: written,
    outputTokens: output,
  };
}
