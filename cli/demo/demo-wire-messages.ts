import type { DemoRequest } from "./demo-request.ts";
import { type DemoEnd, type DemoToolCall, type DemoWire, event, inputOf } from "./demo-wire.ts";

/** @see https://docs.anthropic.com/en/api/messages */
export const ANTHROPIC_WIRE: DemoWire = {
  whole: (request, text, tool, end) => ({
    ...anthropicEnvelope(request),
    content: [
      tool === undefined
        ? { type: "text", text }
        : { type: "tool_use", id: "toolu_demo", name: tool.name, input: inputOf(tool) },
    ],
    stop_reason: anthropicStop(tool, end),
    stop_sequence: null,
    usage: { input_tokens: request.promptTokens, output_tokens: end.outputTokens },
  }),
  open: (request, tool) => {
    const usage = { input_tokens: request.promptTokens, output_tokens: 1 };
    const message = { ...anthropicEnvelope(request), content: [], stop_reason: null, usage };
    const block =
      tool === undefined
        ? { type: "text", text: "" }
        : { type: "tool_use", id: "toolu_demo", name: tool.name, input: {} };
    return (
      event({ type: "message_start", message } as { type: string }) +
      event({ type: "content_block_start", index: 0, content_block: block } as { type: string }) +
      event({ type: "ping" })
    );
  },
  piece: (_request, text, tool) => {
    const delta =
      tool === undefined
        ? { type: "text_delta", text }
        : { type: "input_json_delta", partial_json: text };
    return event({ type: "content_block_delta", index: 0, delta } as { type: string });
  },
  close: (_request, tool, end) => {
    const delta = { stop_reason: anthropicStop(tool, end), stop_sequence: null };
    const usage = { output_tokens: end.outputTokens };
    return (
      event({ type: "content_block_stop", index: 0 } as { type: string }) +
      event({ type: "message_delta", delta, usage } as { type: string }) +
      event({ type: "message_stop" })
    );
  },
  error: (status, message) => ({
    type: "error",
    error: { type: status === 401 ? "authentication_error" : "api_error", message },
  }),
  models: (names) => ({
    data: names.map((id) => ({
      type: "model",
      id,
      display_name: id,
      created_at: "2023-11-14T22:13:20Z",
    })),
    has_more: false,
    first_id: names[0] ?? null,
    last_id: names.at(-1) ?? null,
  }),
};

function anthropicEnvelope(request: DemoRequest) {
  return { id: "msg_demo", type: "message", role: "assistant", model: request.model };
}

function anthropicStop(tool: DemoToolCall | undefined, end: DemoEnd): string {
  if (end.cut) return "max_tokens";
  return tool === undefined ? "end_turn" : "tool_use";
}
