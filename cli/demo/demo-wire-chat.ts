import type { DemoRequest } from "./demo-request.ts";
import { CREATED, type DemoEnd, type DemoToolCall, type DemoWire, data } from "./demo-wire.ts";

/** @see https://platform.openai.com/docs/api-reference/chat */
export const OPENAI_WIRE: DemoWire = {
  whole: (request, text, tool, end) => ({
    ...openaiEnvelope(request, "chat.completion"),
    choices: eachChoice(request, (index) => ({
      index,
      message: {
        role: "assistant",
        content: tool === undefined ? text : null,
        refusal: null,
        ...(tool !== undefined && { tool_calls: [openaiCall(tool)] }),
      },
      finish_reason: openaiFinish(tool, end),
      logprobs: null,
    })),
    usage: openaiUsage(request, end),
  }),
  open: (request, tool) =>
    eachChoice(request, (index) =>
      openaiChunk(request, index, {
        role: "assistant",
        content: tool === undefined ? "" : null,
        ...(tool !== undefined && {
          tool_calls: [{ index: 0, ...openaiCall({ ...tool, json: "" }) }],
        }),
      }),
    ).join(""),
  piece: (request, text, tool) =>
    eachChoice(request, (index) =>
      openaiChunk(
        request,
        index,
        tool === undefined
          ? { content: text }
          : { tool_calls: [{ index: 0, function: { arguments: text } }] },
      ),
    ).join(""),
  close: (request, tool, end) => {
    const finish = openaiFinish(tool, end);
    const ends = eachChoice(request, (index) => openaiChunk(request, index, {}, finish)).join("");
    const usage = {
      ...openaiEnvelope(request, "chat.completion.chunk"),
      choices: [],
      usage: openaiUsage(request, end),
    };
    return `${ends}${request.wantsUsage ? data(usage) : ""}data: [DONE]\n\n`;
  },
  error: (status, message) => ({
    error: {
      message,
      type: status === 401 ? "invalid_request_error" : "server_error",
      param: null,
      code: null,
    },
  }),
  models: (names) => ({
    object: "list",
    data: names.map((id) => ({ id, object: "model", created: CREATED, owned_by: "demo" })),
  }),
};

function openaiEnvelope(request: DemoRequest, kind: string) {
  return { id: "chatcmpl-demo", object: kind, created: CREATED, model: request.model };
}

function openaiChunk(
  request: DemoRequest,
  index: number,
  delta: object,
  finish: string | null = null,
): string {
  return data({
    ...openaiEnvelope(request, "chat.completion.chunk"),
    choices: [{ index, delta, finish_reason: finish, logprobs: null }],
    ...(request.wantsUsage && { usage: null }),
  });
}

function openaiCall({ name, json }: DemoToolCall) {
  return { id: "call_demo", type: "function", function: { name, arguments: json } };
}

function openaiFinish(tool: DemoToolCall | undefined, end: DemoEnd): string {
  if (end.cut) return "length";
  return tool === undefined ? "stop" : "tool_calls";
}

function openaiUsage({ promptTokens, choices }: DemoRequest, { outputTokens }: DemoEnd) {
  const completion = outputTokens * choices;
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completion,
    total_tokens: promptTokens + completion,
  };
}

function eachChoice<T>(request: DemoRequest, make: (index: number) => T): T[] {
  return Array.from({ length: request.choices }, (_, index) => make(index));
}
