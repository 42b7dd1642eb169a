import type { DemoRequest } from "./demo-request.ts";

/** What an answer has come to. */
export type DemoEnd = { readonly outputTokens: number; readonly cut: boolean };

export type DemoToolCall = { readonly name: string; readonly json: string };

/** How one dialect puts answers on the wire. Everything is text; nothing is sent here. */
export type DemoWire = {
  /** The whole answer of one request, `text` for each choice. */
  whole(request: DemoRequest, text: string, tool: DemoToolCall | undefined, end: DemoEnd): object;
  /** Frames before the first word. */
  open(request: DemoRequest, tool: DemoToolCall | undefined): string;
  /** Frames of one piece of text, or of a tool's arguments. */
  piece(request: DemoRequest, text: string, tool: DemoToolCall | undefined): string;
  /** Frames after the last word. */
  close(request: DemoRequest, tool: DemoToolCall | undefined, end: DemoEnd): string;
  error(status: number, message: string): object;
  models(names: readonly string[]): object;
};

/** Always the same, so that the same prompt always has the same answer. */
const CREATED = 1_700_000_000;

const data = (value: object): string => `data: ${JSON.stringify(value)}\n\n`;
const event = (value: { readonly type: string }): string => `event: ${value.type}\n${data(value)}`;

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

/** The arguments of a prompt that is not JSON are its text. */
function inputOf({ json }: DemoToolCall): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return { text: json };
  }
}
