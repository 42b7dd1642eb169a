import { parseStrictText } from "../strict-json.ts";
import { type AnswerPart, type AnswerReader, PartDraft } from "./answer-part.ts";
import { collectTexts } from "./collect-texts.ts";
import type { JsonObject, JsonValue } from "./dialect.ts";
import { ANSWER_DEPTH_MAX, asObject } from "./json-shape.ts";

/** Calls are priced; what they bring back is not. */
const NOTHING = { inputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0, outputTokens: 0 };

/** Reads an answer that is one message. */
export function readMcpAnswer(body: JsonValue): AnswerPart | undefined {
  const part = readMessage(asObject(body));
  return part?.last === true ? part : undefined;
}

/** Reads the messages that come before the answer, and the answer, after which there is nothing. */
export function mcpStreamReader(): AnswerReader {
  return {
    frame: (event, data) => {
      // A first event without data is there so that a client can resume; this one cannot.
      if (data === "") return new PartDraft();
      if (event !== undefined && event !== "message") return undefined;
      const parsed = parseStrictText(data, { depthMax: ANSWER_DEPTH_MAX, mustRoundTrip: false });
      return "value" in parsed ? readMessage(asObject(parsed.value)) : undefined;
    },
  };
}

/**
 * A message of a server: its answer, or word of something. A question to the client is neither: what
 * it asks for (a model's answer, a person's) no grant speaks of, so it makes the answer unreadable.
 */
function readMessage(message: JsonObject | undefined): AnswerPart | undefined {
  if (message?.jsonrpc !== "2.0") return undefined;
  const part = new PartDraft();
  collectTexts(message, part.aside);
  if (message.method !== undefined) {
    const tells = typeof message.method === "string" && message.id === undefined;
    return tells && message.result === undefined ? part : undefined;
  }
  const { result, error } = message;
  if ((result === undefined) === (error === undefined)) return undefined;
  part.last = true;
  part.usage = NOTHING;
  const tools = asObject(result)?.tools;
  if (Array.isArray(tools)) {
    part.rewritten = (granted) => JSON.stringify(withTools(message, tools, granted));
  }
  return part;
}

/** A list of tools with those left that are granted. One without a name is not. */
function withTools(
  message: JsonObject,
  tools: readonly JsonValue[],
  granted: (name: string) => boolean,
): JsonObject {
  const left = tools.filter((one) => {
    const name = asObject(one)?.name;
    return typeof name === "string" && granted(name);
  });
  return { ...message, result: { ...asObject(message.result), tools: left } };
}
