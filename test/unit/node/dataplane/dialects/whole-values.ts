import type { DemoRequest } from "../../../../../cli/demo/demo-request.ts";
import { demoRoute } from "../../../../../cli/demo/demo-route.ts";
import type { DialectName, JsonObject } from "../../../../../node/dataplane/dialects/dialect.ts";

/** A request of each dialect that uses much of what it may, and the path that it goes to. */
export const REQUESTS: Readonly<Record<DialectName, { path: string; body: JsonObject }>> = {
  openai: {
    path: "/v1/chat/completions",
    body: {
      model: "m",
      messages: [
        { role: "system", content: "be brief" },
        { role: "user", content: [{ type: "text", text: "hello" }] },
        {
          role: "assistant",
          content: null,
          tool_calls: [
            { id: "c", type: "function", function: { name: "look", arguments: '{"a":1}' } },
          ],
        },
        { role: "tool", tool_call_id: "c", content: "seen" },
      ],
      tools: [{ type: "function", function: { name: "look", description: "looks" } }],
      response_format: { type: "json_schema", json_schema: { name: "n", schema: { a: "b" } } },
    },
  },
  "openai-responses": {
    path: "/v1/responses",
    body: {
      model: "m",
      instructions: "be brief",
      input: [
        { role: "user", content: "hello" },
        { type: "message", role: "user", content: [{ type: "input_text", text: "again" }] },
        { type: "reasoning", id: "r", summary: [{ type: "summary_text", text: "because" }] },
        { type: "function_call", call_id: "c", name: "look", arguments: '{"a":1}' },
        { type: "function_call_output", call_id: "c", output: "seen" },
        {
          type: "custom_tool_call_output",
          call_id: "d",
          output: [{ type: "input_text", text: "listed" }],
        },
      ],
      tools: [{ type: "function", name: "look", parameters: { a: "b" } }],
      text: { format: { type: "text" }, verbosity: "low" },
    },
  },
  "openai-embeddings": {
    path: "/v1/embeddings",
    body: { model: "m", input: ["hello", "again"], user: "somebody" },
  },
  anthropic: {
    path: "/v1/messages",
    body: {
      model: "m",
      max_tokens: 50,
      system: [{ type: "text", text: "be brief" }],
      messages: [
        { role: "user", content: "hello" },
        {
          role: "assistant",
          content: [{ type: "tool_use", id: "c", name: "look", input: { a: "b" } }],
        },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "c", content: "seen" }] },
      ],
      tools: [{ name: "look", description: "looks", input_schema: { a: "b" } }],
    },
  },
  "anthropic-count-tokens": {
    path: "/v1/messages/count_tokens",
    body: { model: "m", system: "be brief", messages: [{ role: "user", content: "hello" }] },
  },
  mcp: {
    path: "/mcp/server",
    body: {
      jsonrpc: "2.0",
      id: 7,
      method: "tools/call",
      params: { name: "look", arguments: { a: "b" } },
    },
  },
  gemini: {
    path: "/v1beta/models/m:streamGenerateContent",
    body: {
      systemInstruction: { parts: [{ text: "be brief" }] },
      contents: [
        { role: "user", parts: [{ text: "hello" }] },
        { role: "model", parts: [{ functionCall: { name: "look", args: { a: "b" } } }] },
        { role: "user", parts: [{ functionResponse: { name: "look", response: { a: "b" } } }] },
      ],
      tools: [{ functionDeclarations: [{ name: "look", parameters: { a: "b" } }] }],
      tool_config: { functionCallingConfig: { mode: "ANY", allowed_function_names: ["look"] } },
      generationConfig: { stopSequences: ["stop"], response_schema: { a: "b" } },
    },
  },
};

const ASKED: DemoRequest = {
  model: "m",
  stream: true,
  prompt: "",
  promptTokens: 7,
  tokensMax: 100,
  choices: 1,
  wantsUsage: true,
  offersTools: true,
  inputs: 2,
  wantsBase64: false,
};

const TOOL = { name: "look", json: '{"a":"b"}' };

/** Whole answers of a dialect: one with text, one with a tool's call. */
export function answersOf(name: DialectName): readonly JsonObject[] {
  if (name === "mcp") return MCP_ANSWERS;
  const wire = wireOf(name);
  const end = { text: "one two", outputTokens: 2, cut: false };
  const called = { ...end, text: TOOL.json };
  return [wire.whole(ASKED, end.text, undefined, end), wire.whole(ASKED, "", TOOL, called)].map(
    (answer) => JSON.parse(JSON.stringify(answer)) as JsonObject,
  );
}

/** A stream of a dialect that says these pieces, or that calls the tool. */
export function streamOf(name: DialectName, pieces: readonly string[] | "tool"): string {
  if (name === "mcp") return mcpStream(MCP_ANSWERS[pieces === "tool" ? 1 : 0] as JsonObject);
  const wire = wireOf(name);
  const tool = pieces === "tool" ? TOOL : undefined;
  const said = pieces === "tool" ? TOOL.json : pieces.join("");
  const parts = pieces === "tool" ? [TOOL.json] : pieces;
  const end = { text: said, outputTokens: parts.length, cut: false };
  const frames = parts.map((piece) => wire.piece(ASKED, piece, tool));
  return wire.open(ASKED, tool) + frames.join("") + wire.close(ASKED, tool, end);
}

/** What a call brings back, and a list of tools. */
const MCP_ANSWERS: readonly JsonObject[] = [
  { jsonrpc: "2.0", id: 7, result: { content: [{ type: "text", text: "seen" }], isError: false } },
  { jsonrpc: "2.0", id: 7, result: { tools: [{ name: "look", inputSchema: { a: "b" } }] } },
];

/** An answer with word of its progress before it. */
function mcpStream(answer: JsonObject): string {
  const params = { progressToken: 1, progress: 1, message: "half" };
  const progress = { jsonrpc: "2.0", method: "notifications/progress", params };
  return [progress, answer]
    .map((one) => `event: message\ndata: ${JSON.stringify(one)}\n\n`)
    .join("");
}

function wireOf(name: DialectName) {
  const route = demoRoute(REQUESTS[name].path);
  if (route === undefined) throw new Error(`no wire for ${name}`);
  return route.wire;
}
