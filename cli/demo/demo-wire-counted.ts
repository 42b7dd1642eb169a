import type { DemoRequest } from "./demo-request.ts";
import type { DemoWire } from "./demo-wire.ts";
import { OPENAI_WIRE } from "./demo-wire-chat.ts";
import { ANTHROPIC_WIRE } from "./demo-wire-messages.ts";

/** Numbers of a vector: enough to see that it is one. */
const DIMENSIONS = 8;

/** @see https://platform.openai.com/docs/api-reference/embeddings */
export const EMBEDDINGS_WIRE: DemoWire = {
  ...OPENAI_WIRE,
  whole: (request) => ({
    object: "list",
    data: Array.from({ length: request.inputs }, (_, index) => ({
      object: "embedding",
      index,
      embedding: vectorOf(request, index),
    })),
    model: request.model,
    usage: { prompt_tokens: request.promptTokens, total_tokens: request.promptTokens },
  }),
};

/** @see https://docs.anthropic.com/en/api/messages-count-tokens */
export const COUNT_WIRE: DemoWire = {
  ...ANTHROPIC_WIRE,
  whole: (request) => ({ input_tokens: request.promptTokens }),
};

function vectorOf({ wantsBase64 }: DemoRequest, index: number): readonly number[] | string {
  const vector = Float32Array.from({ length: DIMENSIONS }, (_, at) => (at + 1) / (index + 2));
  return wantsBase64 ? Buffer.from(vector.buffer).toString("base64") : [...vector];
}
