import { type AnswerPart, PartDraft, type RelayDialect } from "./answer-part.ts";
import { ANTHROPIC_MESSAGES } from "./anthropic-messages.ts";
import { readCountRequest } from "./anthropic-request.ts";
import { collectOthers } from "./collect-texts.ts";
import type { JsonValue, Route, Usage } from "./dialect.ts";
import { asIndex, asObject } from "./json-shape.ts";

const ROUTES: readonly Route[] = [
  {
    id: "anthropic.count_tokens",
    method: "POST",
    path: "/v1/messages/count_tokens",
    kind: "generate",
  },
];

/**
 * Anthropic's token counting. The provider reads all that a message would have it read, so all of the
 * chain holds; it bills nothing for it.
 *
 * @see https://docs.anthropic.com/en/api/messages-count-tokens
 */
export const ANTHROPIC_COUNT_TOKENS: RelayDialect = {
  ...ANTHROPIC_MESSAGES,
  name: "anthropic-count-tokens",
  routes: ROUTES,
  settableMembers: ["model"],
  read: (_route, body) => readCountRequest(body),
  upstreamBody: (_route, body, set) => ({ ...body, model: set.model }),
  readAnswer,
  // No request of this dialect asks for a stream.
  streamReader: () => ({ frame: () => undefined }),
};

const ENVELOPE = new Set(["input_tokens"]);

/** What is counted is not used. */
const NOTHING: Usage = {
  inputTokens: 0,
  cachedInputTokens: 0,
  cacheWriteTokens: 0,
  outputTokens: 0,
};

function readAnswer(body: JsonValue): AnswerPart | undefined {
  const answer = asObject(body);
  if (answer === undefined || asIndex(answer.input_tokens) === undefined) return undefined;
  const part = new PartDraft();
  collectOthers(answer, ENVELOPE, part.aside);
  part.usage = NOTHING;
  return part;
}
