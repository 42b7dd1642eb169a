import type { Missing } from "../../decision/facts.ts";
import { type AnswerPart, PartDraft, type RelayDialect } from "./answer-part.ts";
import { collectOthers } from "./collect-texts.ts";
import type { JsonObject, JsonValue, ReadRequest, Route } from "./dialect.ts";
import { asObject } from "./json-shape.ts";
import { OPENAI_CHAT } from "./openai-chat.ts";
import {
  count,
  type MemberReader,
  type MemberTable,
  only,
  RequestReading,
  readMembers,
  text,
  textOrTexts,
} from "./request-reading.ts";
import { sayNamed } from "./say-naming.ts";
import { tokenCount } from "./usage.ts";

const ROUTES: readonly Route[] = [
  { id: "openai.embeddings", method: "POST", path: "/v1/embeddings", kind: "generate" },
];

/**
 * OpenAI's Embeddings: text in, vectors out, and so nothing in an answer that a model wrote.
 *
 * @see https://platform.openai.com/docs/api-reference/embeddings
 */
export const OPENAI_EMBEDDINGS: RelayDialect = {
  ...OPENAI_CHAT,
  name: "openai-embeddings",
  routes: ROUTES,
  settableMembers: ["model"],
  read: (_route, body) => readEmbeddingsRequest(body),
  upstreamBody: (_route, body, set) => ({ ...body, model: set.model }),
  readAnswer: readEmbeddingsAnswer,
  // No request of this dialect asks for a stream.
  streamReader: () => ({ frame: () => undefined }),
};

/** Text that was made into tokens cannot be scanned, so lists of tokens are malformed here. */
const REQUEST: MemberTable = new Map<string, MemberReader>([
  ["model", text],
  ["input", textOrTexts],
  ["encoding_format", only("float", "base64")],
  ["dimensions", count(1)],
  ["user", text],
]);

function readEmbeddingsRequest(body: JsonObject): ReadRequest | Missing {
  const reading = new RequestReading();
  readMembers(body, REQUEST, "", reading);
  const { model, input } = body;
  if (typeof model !== "string") reading.malformed ??= "model";
  if (typeof input !== "string" && !Array.isArray(input)) reading.malformed ??= "input";
  if (reading.malformed !== undefined) {
    return { missing: "malformed_request", detail: `${reading.malformed} (send text)` };
  }
  return {
    model: model as string,
    stream: false,
    tools: [],
    texts: reading.texts,
    messages: Array.isArray(input) ? input.length : 1,
    maxOutputTokens: 0,
    choices: 1,
    unpricedParameter: reading.unpriced,
    wantsUsage: false,
  };
}

const ENVELOPE = new Set(["object", "data", "model", "usage"]);
const VECTOR_ENVELOPE = new Set(["object", "index", "embedding"]);
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

function readEmbeddingsAnswer(body: JsonValue): AnswerPart | undefined {
  const answer = asObject(body);
  const data = answer?.data;
  if (answer === undefined || !Array.isArray(data)) return undefined;
  const part = new PartDraft();
  for (const one of data) {
    const vector = asObject(one);
    if (vector === undefined || !isVector(vector.embedding)) return undefined;
    sayNamed(vector, ["object", "index"], part);
    collectOthers(vector, VECTOR_ENVELOPE, part.aside);
  }
  sayNamed(answer, ["object", "model", "usage"], part);
  collectOthers(answer, ENVELOPE, part.aside);
  const reported = asObject(answer.usage)?.prompt_tokens;
  const inputTokens = typeof reported === "number" ? tokenCount(reported) : undefined;
  if (inputTokens !== undefined) {
    part.usage = { inputTokens, cachedInputTokens: 0, cacheWriteTokens: 0, outputTokens: 0 };
  }
  return part;
}

/** Numbers, or the same as the bytes of 32-bit floats in base64. Neither is text. */
function isVector(value: JsonValue | undefined): boolean {
  if (Array.isArray(value)) return value.every((one) => typeof one === "number");
  return typeof value === "string" && value.length % 4 === 0 && BASE64.test(value);
}
