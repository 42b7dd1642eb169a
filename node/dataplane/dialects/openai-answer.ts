import { parseStrictText } from "../strict-json.ts";
import {
  type AnswerPart,
  type AnswerReader,
  PartDraft,
  sayStrings,
  type TextPlace,
} from "./answer-part.ts";
import type { CallGiven } from "./call-part.ts";
import { collectOthers } from "./collect-texts.ts";
import type { JsonObject, JsonValue, Usage } from "./dialect.ts";
import { isSpeltOtherwise } from "./folded-names.ts";
import { ANSWER_DEPTH_MAX, asIndex, asObject } from "./json-shape.ts";
import { sayNamed, sayNaming } from "./say-naming.ts";
import { tokenCount } from "./usage.ts";

/** Members of an answer or a chunk that name and count things; random padding against who counts bytes is among them. */
const NAMING = [
  ...["id", "object", "created", "model", "system_fingerprint", "service_tier", "obfuscation"],
  "usage",
] as const;
const ENVELOPE: ReadonlySet<string> = new Set([...NAMING, "choices"]);

const CHOICE_NAMING = ["index", "finish_reason"] as const;
const CHOICE_ENVELOPE = new Set(["index", "finish_reason", "delta", "message"]);

/** Phases of a choice: what a model thinks, what it says, then its tool calls one by one. */
const THINKING = 0;
const SPEAKING = 1;
const CALLING = 2;

/**
 * Reads a whole chat completion.
 *
 * @see https://platform.openai.com/docs/api-reference/chat/object
 */
export function readChatAnswer(body: JsonValue): AnswerPart | undefined {
  const answer = asObject(body);
  const choices = answer?.choices;
  if (answer === undefined || !Array.isArray(choices)) return undefined;
  const part = new PartDraft();
  for (let position = 0; position < choices.length; position++) {
    const choice = asObject(choices[position]);
    const message = asObject(choice?.message);
    if (choice === undefined || message === undefined) return undefined;
    // A choice with a delta in it is of a stream; a client that reads both must not exist.
    if (choice.delta !== undefined) return undefined;
    const calls = new ToolCalls({ whole: true });
    const group = String(position);
    if (!readDelta(message, part, group, calls)) return undefined;
    calls.complete(part, group);
    sayNamed(choice, CHOICE_NAMING, part);
    if (!collectOthers(choice, CHOICE_ENVELOPE, part.aside)) return undefined;
  }
  sayNamed(answer, NAMING, part);
  if (!collectOthers(answer, ENVELOPE, part.aside)) return undefined;
  part.usage = readUsage(answer.usage);
  return part;
}

/**
 * Reads the chunks of a streamed chat completion.
 *
 * @param wantsUsage The client asked for the frame that reports usage; otherwise it is ours.
 * @see https://platform.openai.com/docs/api-reference/chat/streaming
 */
export function chatStreamReader(wantsUsage: boolean): AnswerReader {
  const callsOf = new Map<string, ToolCalls>();
  return {
    frame: (_event, data) => {
      const part = new PartDraft();
      if (data === "[DONE]") {
        // A choice that was never ended is ended by this, and what it calls is called.
        for (const [group, calls] of callsOf) calls.complete(part, group);
        part.last = true;
        return part;
      }
      const parsed = parseStrictText(data, { depthMax: ANSWER_DEPTH_MAX, mustRoundTrip: false });
      const chunk = "value" in parsed ? asObject(parsed.value) : undefined;
      if (chunk === undefined) return undefined;
      if (chunk.error !== undefined && chunk.error !== null) {
        part.failed = true;
        return part;
      }
      return readChunk(chunk, part, callsOf, wantsUsage);
    },
  };
}

function readChunk(
  chunk: JsonObject,
  part: PartDraft,
  callsOf: Map<string, ToolCalls>,
  wantsUsage: boolean,
): AnswerPart | undefined {
  const choices = chunk.choices;
  if (!Array.isArray(choices)) return undefined;
  for (const one of choices) {
    const choice = asObject(one);
    const index = asIndex(choice?.index ?? 0);
    if (choice === undefined || index === undefined) return undefined;
    const group = String(index);
    const calls = callsOf.get(group) ?? new ToolCalls({ whole: false });
    callsOf.set(group, calls);
    const delta = asObject(choice.delta ?? {});
    if (delta === undefined || !readDelta(delta, part, group, calls)) return undefined;
    // A chunk with a message in it is none; a client that reads it all the same must not exist.
    if (choice.message !== undefined) return undefined;
    if (typeof choice.finish_reason === "string") {
      calls.complete(part, group);
      part.endedGroups.push(group);
    }
    sayNamed(choice, CHOICE_NAMING, part);
    if (!collectOthers(choice, CHOICE_ENVELOPE, part.aside)) return undefined;
  }
  sayNamed(chunk, NAMING, part);
  if (!collectOthers(chunk, ENVELOPE, part.aside)) return undefined;
  part.usage = readUsage(chunk.usage);
  part.ours = !wantsUsage && choices.length === 0 && part.usage !== undefined;
  return part;
}

/** Members that providers say text in; names of others are scanned too. */
const SAID = new Set(["content", "refusal", "reasoning", "reasoning_content"]);
const DELTA_NAMES = new Set([...SAID, "role", "tool_calls", "function_call"]);

/** A message, or what a chunk adds to one. False: not readable. */
function readDelta(delta: JsonObject, part: PartDraft, group: string, calls: ToolCalls): boolean {
  for (const name in delta) {
    const value = delta[name] as JsonValue;
    if (value === null) continue;
    if (name === "role") sayNaming(value, part);
    else if (name === "tool_calls") {
      if (!Array.isArray(value)) return false;
      for (const [position, call] of value.entries()) {
        if (!calls.read(call, position, part, group)) return false;
      }
    } else if (name === "function_call") {
      if (!calls.readFunction(value, LEGACY_CALL, part, group)) return false;
    } else {
      if (isSpeltOtherwise(name, DELTA_NAMES)) return false;
      const phase = name === "content" || name === "refusal" ? SPEAKING : THINKING;
      const at = { channel: `${group}.${name}`, group, phase };
      if (!SAID.has(name)) part.aside.push(name);
      else if (typeof value === "string") {
        part.say({ ...at, text: value, isProse: true });
        continue;
      }
      if (Array.isArray(value)) sayParts(part, value, at);
      else sayStrings(part, value, at);
    }
  }
  return true;
}

/** Some servers say a text in parts, which clients put together: what else is in them stands beside it. */
function sayParts(part: PartDraft, values: readonly JsonValue[], at: TextPlace): void {
  const texts: string[] = [];
  for (const one of values) {
    const members = typeof one === "string" ? { text: one } : asObject(one);
    if (members === undefined) sayStrings(part, one, at);
    for (const [name, member] of Object.entries(members ?? {})) {
      const place = { ...at, channel: `${at.channel}.${name}` };
      if (name === "text" && typeof member === "string") {
        texts.push(member);
        continue;
      }
      if (name !== "") part.aside.push(name);
      if (Array.isArray(member)) sayParts(part, member, place);
      else sayStrings(part, member, place);
    }
  }
  part.say({ ...at, text: texts.join("") });
}

/** The one call of the API's older form, apart from the numbered ones. */
const LEGACY_CALL = -1;

/**
 * The tool calls of one choice, whose names have to be known before their arguments are released.
 *
 * A name comes whole, in the chunk that opens the call. Should a provider send it in pieces, it is
 * complete when the arguments begin; one that goes on after that cannot be judged. Some clients join
 * the pieces and others keep the last one, so both names have to be granted.
 */
class ToolCalls {
  // Most answers call nothing.
  #names: Map<number, { name: string; last: string; told: boolean }> | undefined;
  #ids: Map<number, CallIds> | undefined;
  readonly #whole: boolean;

  /** @param options `whole`: each call comes once, so its place in the list is its number. */
  constructor({ whole }: { readonly whole: boolean }) {
    this.#whole = whole;
  }

  read(value: JsonValue, position: number, part: PartDraft, group: string): boolean {
    const call = asObject(value);
    const index = this.#whole ? position : asIndex(call?.index ?? position);
    if (call === undefined || index === undefined) return false;
    const called = call.function ?? call.custom;
    const ids = this.#idsOf(index, call.id);
    if (ids?.take(call.id) === false) return false;
    // For clients that go by ids the call before is complete, its name as well.
    if (ids?.areSeveral === true) this.#tell(index, part);
    // Of two calls in one a client could make either.
    if (isGiven(call.function) && isGiven(call.custom)) return false;
    if (!collectOthers(call, CALL_ENVELOPE, part.aside)) return false;
    sayNamed(call, CALL_NAMING, part);
    // A chunk may bring the id alone, before there is a name.
    const isRead = !isGiven(called) || this.readFunction(called as JsonValue, index, part, group);
    if (ids?.areSeveral === true) this.#sayTwofold(index, part, group);
    return isRead;
  }

  readFunction(value: JsonValue, index: number, part: PartDraft, group: string): boolean {
    const called = asObject(value);
    if (called === undefined) return false;
    const { name, arguments: asked, input } = called;
    if (!collectOthers(called, CALLED_ENVELOPE, part.aside)) return false;
    // Each call has two phases, its name and its arguments; the unnumbered one has the first two.
    const phase = CALLING + 2 * (index + 1);
    if (isGiven(name) && typeof name !== "string") return false;
    if (typeof name === "string") {
      const added = this.#addName(index, name);
      if (added === undefined) return false;
      part.say({ channel: `${group}.name.${index}`, group, phase, text: added });
    }
    if (isGiven(asked) && isGiven(input)) return false;
    const argument = asked ?? input;
    if (argument === undefined || argument === null) return true;
    if (typeof argument !== "string" || !this.#tell(index, part)) return false;
    if (argument === "") return true;
    const at = { channel: `${group}.call.${index}`, group, phase: phase + 1 };
    part.say({ ...at, text: argument, ...(!isGiven(input) && { isJson: true }) });
    const given: CallGiven = isGiven(input) ? { isRaw: true } : { text: argument };
    const call = `${group}.${index}`;
    part.calls.push({ kind: "piece", call, names: this.#namesOf(index), given });
    return true;
  }

  #idsOf(index: number, id: JsonValue | undefined): CallIds | undefined {
    const known = this.#ids?.get(index);
    if (known !== undefined || !isGiven(id)) return known;
    const ids = new CallIds();
    this.#ids ??= new Map();
    this.#ids.set(index, ids);
    return ids;
  }

  /** One call to clients that go by numbers, and several to those that go by ids: no rule can speak of its arguments. */
  #sayTwofold(index: number, part: PartDraft, group: string): void {
    const names = this.#namesOf(index);
    part.calls.push({ kind: "piece", call: `${group}.${index}`, names, given: { isRaw: true } });
  }

  /** No more pieces come: every name is complete, and so is every call. */
  complete(part: PartDraft, group: string): void {
    for (const index of this.#names?.keys() ?? []) {
      this.#tell(index, part);
      part.calls.push({ kind: "end", call: `${group}.${index}`, names: this.#namesOf(index) });
    }
  }

  #namesOf(index: number): readonly string[] {
    const known = this.#names?.get(index);
    if (known === undefined) return [];
    return known.name === known.last ? [known.name] : [known.name, known.last];
  }

  /** What is new of the name; undefined when it goes on after it was complete. */
  #addName(index: number, name: string): string | undefined {
    this.#names ??= new Map();
    const known = this.#names.get(index);
    if (known === undefined) {
      this.#names.set(index, { name, last: name, told: false });
      return name;
    }
    if (!known.told) {
      known.name += name;
      known.last = name || known.last;
      return name;
    }
    // Some providers repeat the whole name, or an empty one, in each piece.
    return name === "" || name === known.name ? "" : undefined;
  }

  #tell(index: number, part: PartDraft): boolean {
    const known = this.#names?.get(index);
    if (known === undefined) return false;
    if (!known.told) part.toolNames.push(known.name);
    if (!known.told && known.last !== known.name) part.toolNames.push(known.last);
    known.told = true;
    return true;
  }
}

/** The ids of one call. Some servers repeat it in each piece, or say an empty one, and others make up a new one. */
class CallIds {
  readonly #all = new Set<string>();
  #last = "";

  get areSeveral(): boolean {
    return this.#all.size > 1;
  }

  /** False: one that came before another goes on, and clients that go by ids join what does not stand together. */
  take(id: JsonValue | undefined): boolean {
    if (typeof id !== "string" || id === "" || id === this.#last) return true;
    if (this.#all.has(id)) return false;
    this.#all.add(id);
    this.#last = id;
    return true;
  }
}

function isGiven(value: JsonValue | undefined): boolean {
  return value !== undefined && value !== null;
}

/** Some servers take the id of a call out of what the model wrote. */
const CALL_NAMING = ["index", "id", "type"] as const;
const CALL_ENVELOPE: ReadonlySet<string> = new Set([...CALL_NAMING, "function", "custom"]);
const CALLED_ENVELOPE = new Set(["name", "arguments", "input"]);

function readUsage(value: JsonValue | undefined): Usage | undefined {
  const usage = asObject(value);
  if (usage === undefined) return undefined;
  // A report without one of the two has counted nothing: the hold is charged.
  if (!isGiven(usage.prompt_tokens) || !isGiven(usage.completion_tokens)) return undefined;
  const details = asObject(usage.prompt_tokens_details);
  const prompt = tokenCount(usage.prompt_tokens);
  const cached = tokenCount(details?.cached_tokens);
  const written = tokenCount(details?.cache_write_tokens);
  const completion = tokenCount(usage.completion_tokens);
  if (prompt === undefined || cached === undefined || written === undefined) return undefined;
  if (completion === undefined) return undefined;
  return {
    // This provider's figure for input holds the cached part; ours do not overlap.
    inputTokens: Math.max(0, prompt - cached - written),
    cachedInputTokens: cached,
    cacheWriteTokens: written,
    outputTokens: completion,
  };
}
