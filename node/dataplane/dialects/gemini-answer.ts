import { parseStrictText } from "../strict-json.ts";
import { type AnswerPart, type AnswerReader, PartDraft } from "./answer-part.ts";
import { collectOthers, collectTexts } from "./collect-texts.ts";
import type { JsonObject, JsonValue, Usage } from "./dialect.ts";
import { foldedName } from "./folded-names.ts";
import { ANSWER_DEPTH_MAX, asIndex, asObject } from "./json-shape.ts";
import { sayNamed, sayNaming, saySealed } from "./say-naming.ts";
import { tokenCount } from "./usage.ts";

/** Members that name and count things. */
const NAMING = ["usageMetadata", "modelVersion", "responseId"] as const;
const ENVELOPE: ReadonlySet<string> = new Set([...NAMING, "candidates"]);
const CANDIDATE_ENVELOPE = new Set(["content", "finishReason", "index"]);
const CONTENT_ENVELOPE = new Set(["parts", "role"]);

/**
 * Parts with which something else than text or a call of the client's comes back; and all of them in the
 * API's other spelling, which no answer has and some client may read.
 */
const UNREADABLE_PARTS = [
  ...["inlineData", "fileData", "executableCode", "codeExecutionResult", "toolCall"],
  ...["inline_data", "file_data", "executable_code", "code_execution_result", "tool_call"],
  "function_call",
];
const PART_ENVELOPE = new Set([
  ...["text", "thought", "thoughtSignature", "functionCall"],
  ...UNREADABLE_PARTS,
]);
const CALL_NAMES = new Set(["id", "name", "args", "partialArgs", "willContinue"]);

/**
 * Reads a whole answer. Clients join the texts of a candidate's parts, so they are one text.
 *
 * @see https://ai.google.dev/api/generate-content#generatecontentresponse
 */
export function readGeminiAnswer(body: JsonValue): AnswerPart | undefined {
  const answer = asObject(body);
  if (answer === undefined) return undefined;
  const pieces = new PartDraft();
  if (!readChunk(answer, pieces, new Map())) return undefined;
  const part = new PartDraft();
  // One by one: of probabilities there are more words than a call can have arguments.
  for (const name of pieces.toolNames) part.toolNames.push(name);
  for (const call of pieces.calls) part.calls.push(call);
  for (const text of pieces.aside) part.aside.push(text);
  part.usage = pieces.usage;
  for (const channel of new Set(pieces.pieces.map((piece) => piece.channel))) {
    const own = pieces.pieces.filter((piece) => piece.channel === channel);
    part.say({ channel, group: "", phase: 0, text: own.map(({ text }) => text).join("") });
  }
  return part;
}

/**
 * Reads the chunks of a stream, each of which is a whole answer's worth of members.
 *
 * The dialect has no last chunk: an answer is whole once each of its candidates has said why it
 * finished, or when the prompt was blocked and there is none.
 */
export function geminiStreamReader(): AnswerReader {
  const finished = new Map<number, boolean>();
  let blocked = false;
  return {
    frame: (_event, data) => {
      const parsed = parseStrictText(data, { depthMax: ANSWER_DEPTH_MAX, mustRoundTrip: false });
      const chunk = "value" in parsed ? asObject(parsed.value) : undefined;
      if (chunk === undefined) return undefined;
      const part = new PartDraft();
      part.failed = chunk.error !== undefined && chunk.error !== null;
      if (part.failed) return part;
      blocked ||= typeof asObject(chunk.promptFeedback)?.blockReason === "string";
      return readChunk(chunk, part, finished) ? part : undefined;
    },
    isWhole: () => {
      const ends = [...finished.values()];
      return ends.length > 0 ? ends.every((end) => end) : blocked;
    },
  };
}

/** @param finished Whether each candidate seen so far has finished. */
function readChunk(chunk: JsonObject, part: PartDraft, finished: Map<number, boolean>): boolean {
  const candidates = chunk.candidates ?? [];
  if (!Array.isArray(candidates)) return false;
  for (const [position, one] of candidates.entries()) {
    const candidate = asObject(one);
    const index = asIndex(candidate?.index ?? position);
    if (candidate === undefined || index === undefined) return false;
    if (!readContent(candidate.content ?? {}, String(index), part)) return false;
    sayNamed(candidate, ["finishReason", "index"], part);
    if (!collectOthers(candidate, CANDIDATE_ENVELOPE, part.aside)) return false;
    const ends = typeof candidate.finishReason === "string";
    finished.set(index, ends || finished.get(index) === true);
  }
  sayNamed(chunk, NAMING, part);
  if (!collectOthers(chunk, ENVELOPE, part.aside)) return false;
  part.usage = readUsage(chunk.usageMetadata);
  return true;
}

function readContent(value: JsonValue, group: string, part: PartDraft): boolean {
  const content = asObject(value);
  const parts = content?.parts ?? [];
  if (content === undefined || !Array.isArray(parts)) return false;
  for (const one of parts) {
    const members = asObject(one);
    if (members === undefined || !readPart(members, group, part)) return false;
  }
  sayNaming(content.role, part);
  return collectOthers(content, CONTENT_ENVELOPE, part.aside);
}

/** Thoughts and answer may alternate, so that neither ends the other: they are of one phase. */
function readPart(members: JsonObject, group: string, part: PartDraft): boolean {
  if (UNREADABLE_PARTS.some((name) => members[name] !== undefined)) return false;
  const { text, thought, functionCall } = members;
  if (text !== undefined && text !== null) {
    if (typeof text !== "string") return false;
    const channel = thought === true ? `${group}.thought` : `${group}.text`;
    part.say({ channel, group, phase: 0, text });
  }
  sayNaming(thought, part);
  saySealed(members.thoughtSignature, part);
  if (!collectOthers(members, PART_ENVELOPE, part.aside)) return false;
  return functionCall === undefined || readCall(asObject(functionCall), part);
}

/** A call comes whole in one part, its arguments as an object. */
function readCall(call: JsonObject | undefined, part: PartDraft): boolean {
  if (call === undefined || typeof call.name !== "string" || call.name === "") return false;
  if (foldedName(Object.keys(call), CALL_NAMES) !== undefined) return false;
  // Arguments in pieces are for those who ask for them, which no request here can.
  if (call.partialArgs !== undefined || call.willContinue === true) return false;
  part.toolNames.push(call.name);
  part.calls.push({ kind: "whole", names: [call.name], given: { value: call.args ?? {} } });
  collectTexts(call, part.aside);
  return true;
}

function readUsage(value: JsonValue | undefined): Usage | undefined {
  const usage = asObject(value);
  // A report without one of the two has counted nothing: the hold is charged.
  if (typeof usage?.promptTokenCount !== "number" || typeof usage.totalTokenCount !== "number") {
    return undefined;
  }
  const prompt = tokenCount(usage.promptTokenCount);
  const cached = tokenCount(usage.cachedContentTokenCount);
  const written = tokenCount(usage.candidatesTokenCount);
  const thought = tokenCount(usage.thoughtsTokenCount);
  const total = tokenCount(usage.totalTokenCount);
  if (prompt === undefined || cached === undefined || total === undefined) return undefined;
  if (written === undefined || thought === undefined) return undefined;
  return {
    // This provider's figure for input holds the cached part; ours do not overlap.
    inputTokens: Math.max(0, prompt - cached),
    cachedInputTokens: cached,
    cacheWriteTokens: 0,
    // What is in the total and in none of its parts was written too.
    outputTokens: Math.max(written + thought, total - prompt),
  };
}
