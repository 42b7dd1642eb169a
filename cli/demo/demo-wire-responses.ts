import type { DemoRequest } from "./demo-request.ts";
import { CREATED, type DemoEnd, type DemoToolCall, type DemoWire, event } from "./demo-wire.ts";
import { OPENAI_WIRE } from "./demo-wire-chat.ts";

/** @see https://platform.openai.com/docs/api-reference/responses */
export const RESPONSES_WIRE: DemoWire = {
  ...OPENAI_WIRE,
  whole: (request, text, tool, end) => responseOf(request, itemOf(text, tool), end),
  open: (request, tool) =>
    frame("response.created", { response: responseOf(request, undefined, undefined) }) +
    frame("response.output_item.added", { output_index: 0, item: openItem(tool) }) +
    (tool === undefined
      ? frame("response.content_part.added", { ...PART, part: textPart("") })
      : ""),
  piece: (_request, text, tool) =>
    frame(
      tool === undefined ? "response.output_text.delta" : "response.function_call_arguments.delta",
      { ...PART, delta: text },
    ),
  close: (request, tool, end) => {
    const item = itemOf(end.text, tool);
    const said =
      tool === undefined
        ? frame("response.output_text.done", { ...PART, text: end.text }) +
          frame("response.content_part.done", { ...PART, part: textPart(end.text) })
        : frame("response.function_call_arguments.done", { ...PART, arguments: tool.json });
    const response = responseOf(request, item, end);
    return (
      said +
      frame("response.output_item.done", { output_index: 0, item }) +
      frame(`response.${response.status}`, { response })
    );
  },
};

const PART = { item_id: "msg_demo", output_index: 0, content_index: 0 } as const;

function frame(type: string, members: object): string {
  return event({ type, sequence_number: 0, ...members });
}

function textPart(text: string) {
  return { type: "output_text", text, annotations: [], logprobs: [] };
}

function itemOf(text: string, tool: DemoToolCall | undefined): object {
  return tool === undefined
    ? { ...MESSAGE, status: "completed", content: [textPart(text)] }
    : { ...callOf(tool), status: "completed", arguments: tool.json };
}

function openItem(tool: DemoToolCall | undefined): object {
  return tool === undefined
    ? { ...MESSAGE, status: "in_progress", content: [] }
    : { ...callOf(tool), status: "in_progress", arguments: "" };
}

const MESSAGE = { id: PART.item_id, type: "message", role: "assistant" } as const;

function callOf({ name }: DemoToolCall) {
  return { id: "fc_demo", type: "function_call", call_id: "call_demo", name };
}

function responseOf(request: DemoRequest, item: object | undefined, end: DemoEnd | undefined) {
  const status = end === undefined ? "in_progress" : end.cut ? "incomplete" : "completed";
  const { promptTokens: input } = request;
  const output = end?.outputTokens ?? 0;
  return {
    id: "resp_demo",
    object: "response",
    created_at: CREATED,
    status,
    model: request.model,
    output: item === undefined ? [] : [item],
    error: null,
    incomplete_details: end?.cut === true ? { reason: "max_output_tokens" } : null,
    usage: end && { input_tokens: input, output_tokens: output, total_tokens: input + output },
  };
}
