import type { DemoRequest } from "./demo-request.ts";
import { type DemoEnd, type DemoToolCall, type DemoWire, data, inputOf } from "./demo-wire.ts";

/** @see https://ai.google.dev/api/generate-content */
export const GEMINI_WIRE: DemoWire = {
  whole: (request, text, tool, end) =>
    answerOf(request, tool === undefined ? [{ text }] : [callOf(tool)], end),
  open: () => "",
  // A call comes whole, with the end.
  piece: (request, text, tool) =>
    tool === undefined ? data(answerOf(request, [{ text }], undefined)) : "",
  close: (request, tool, end) =>
    data(answerOf(request, tool === undefined ? [{ text: "" }] : [callOf(tool)], end)),
  error: (status, message) => ({
    error: { code: status, message, status: status === 401 ? "UNAUTHENTICATED" : "INTERNAL" },
  }),
  models: (names) => ({ models: names.map((name) => ({ name: `models/${name}` })) }),
};

function callOf(tool: DemoToolCall): object {
  return { functionCall: { name: tool.name, args: inputOf(tool) } };
}

function answerOf(request: DemoRequest, parts: readonly object[], end: DemoEnd | undefined) {
  const { promptTokens, choices } = request;
  const written = (end?.outputTokens ?? 0) * choices;
  return {
    candidates: Array.from({ length: choices }, (_, index) => ({
      content: { role: "model", parts },
      ...(end !== undefined && { finishReason: end.cut ? "MAX_TOKENS" : "STOP" }),
      index,
    })),
    usageMetadata: {
      promptTokenCount: promptTokens,
      ...(end !== undefined && { candidatesTokenCount: written }),
      totalTokenCount: promptTokens + written,
    },
    modelVersion: request.model,
  };
}
