import { describe, expect, test } from "vitest";
import type { Outcome } from "../../../node/dataplane/client-leg.ts";
import type {
  DialectName,
  JsonObject,
  JsonValue,
  Usage,
} from "../../../node/dataplane/dialects/dialect.ts";
import { DIALECTS, findRoute } from "../../../node/dataplane/dialects/registry.ts";
import { judgedBody, upstreamBytes } from "../../../node/dataplane/judged-body.ts";
import { isMissing } from "../../../node/decision/facts.ts";
import { hold } from "../../../node/hold.ts";
import { settleRequest } from "../../../node/settle-request.ts";
import { dataFrame, EVENT_STREAM, namedFrame, relay } from "./dataplane/relay-fixture.ts";
import { LoopWorld } from "./loop-world.ts";

// What must be true of money in every dialect that the gateway speaks, in one table.

const usage = (inputTokens: number, cachedInputTokens: number, outputTokens: number): Usage => ({
  inputTokens,
  cachedInputTokens,
  cacheWriteTokens: 0,
  outputTokens,
});

type Row = {
  readonly dialect: DialectName;
  readonly path: string;
  readonly headers?: readonly string[];
  /** A request that names no output limit. */
  readonly bare: JsonObject;
  /** Where limits stand in a request, each as a request has it. */
  readonly limits: readonly JsonObject[];
  /** What goes upstream for a limit of 7, as the bare request and as each of those has it. */
  readonly limited: readonly JsonObject[];
  /** Buys what has no price here, or refers to what the provider keeps. */
  readonly unpriced: readonly JsonObject[];
  /** A whole answer of 40 tokens read, 10 of them from a cache, and 5 written. */
  readonly answer: JsonValue;
  /** The same as a stream: its frames, and the one of them that is the last to count. */
  readonly stream?: readonly string[];
  readonly counts?: number;
};

const TEXT = { role: "user", content: "hello" };
const CHAT_USAGE = {
  prompt_tokens: 40,
  completion_tokens: 5,
  prompt_tokens_details: { cached_tokens: 10 },
};
const RESPONSES_USAGE = {
  input_tokens: 40,
  output_tokens: 5,
  input_tokens_details: { cached_tokens: 10 },
};
const GEMINI_USAGE = {
  promptTokenCount: 40,
  cachedContentTokenCount: 10,
  candidatesTokenCount: 3,
  thoughtsTokenCount: 2,
  totalTokenCount: 45,
};
const said = { content: { role: "model", parts: [{ text: "hi" }] }, index: 0 };
const response = { id: "r", object: "response", status: "completed" };
const OUTPUT = [
  { type: "message", id: "m", role: "assistant", content: [{ type: "output_text", text: "hi" }] },
];

const ROWS: readonly Row[] = [
  {
    dialect: "openai",
    path: "/v1/chat/completions",
    bare: { model: "gpt-5-mini", messages: [TEXT] },
    limits: [{ max_tokens: 9 }, { max_completion_tokens: 9 }, { max_tokens: 9, n: 3 }],
    limited: [
      { max_completion_tokens: 7 },
      { max_tokens: 7 },
      { max_completion_tokens: 7 },
      { max_tokens: 7, n: 3 },
    ],
    unpriced: [
      { service_tier: "priority" },
      { store: true },
      { web_search_options: {} },
      { prediction: { type: "content", content: "x" } },
      { modalities: ["text", "audio"] },
      { messages: [{ role: "assistant", audio: { id: "a" } }] },
      { messages: [{ role: "user", content: [{ type: "file", file: { file_id: "f" } }] }] },
    ],
    answer: {
      object: "chat.completion",
      choices: [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }],
      usage: CHAT_USAGE,
    },
    stream: [
      dataFrame({ choices: [{ index: 0, delta: { content: "hi" }, finish_reason: null }] }),
      dataFrame({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }),
      dataFrame({ choices: [], usage: CHAT_USAGE }),
      "data: [DONE]\n\n",
    ],
    counts: 2,
  },
  {
    dialect: "openai-responses",
    path: "/v1/responses",
    bare: { model: "gpt-5-mini", input: "hello" },
    limits: [{ max_output_tokens: 9 }],
    limited: [{ max_output_tokens: 7 }, { max_output_tokens: 7 }],
    unpriced: [
      { previous_response_id: "resp_1" },
      { conversation: "conv_1" },
      { background: true },
      { store: true },
      { prompt: { id: "p" } },
      { service_tier: "flex" },
      { input: [{ type: "item_reference", id: "i" }] },
      { tools: [{ type: "web_search" }] },
      { tools: [{ type: "code_interpreter", container: { type: "auto" } }] },
    ],
    answer: { ...response, output: OUTPUT, usage: RESPONSES_USAGE },
    stream: [
      namedFrame({
        type: "response.output_text.delta",
        output_index: 0,
        content_index: 0,
        delta: "hi",
      }),
      namedFrame({
        type: "response.completed",
        response: { ...response, output: OUTPUT, usage: RESPONSES_USAGE },
      }),
    ],
    counts: 1,
  },
  {
    dialect: "openai-embeddings",
    path: "/v1/embeddings",
    bare: { model: "gpt-5-mini", input: ["hello"] },
    limits: [],
    limited: [{}],
    unpriced: [{ service_tier: "priority" }],
    answer: {
      object: "list",
      data: [{ object: "embedding", index: 0, embedding: [0.5] }],
      usage: { prompt_tokens: 40, total_tokens: 40 },
    },
  },
  {
    dialect: "anthropic",
    path: "/v1/messages",
    headers: ["anthropic-version", "2023-06-01"],
    bare: { model: "gpt-5-mini", messages: [TEXT] },
    limits: [{ max_tokens: 9 }],
    limited: [{ max_tokens: 7 }, { max_tokens: 7 }],
    unpriced: [
      { container: "c" },
      { mcp_servers: [] },
      { service_tier: "priority" },
      { cache_control: { type: "ephemeral", ttl: "1h" } },
      { tools: [{ type: "web_search_20250305", name: "web_search" }] },
      {
        messages: [
          { role: "user", content: [{ type: "document", source: { type: "file", file_id: "f" } }] },
        ],
      },
    ],
    answer: {
      type: "message",
      role: "assistant",
      content: [{ type: "text", text: "hi" }],
      usage: { input_tokens: 30, cache_read_input_tokens: 10, output_tokens: 5 },
    },
    stream: [
      namedFrame({
        type: "message_start",
        message: {
          type: "message",
          role: "assistant",
          content: [],
          usage: { input_tokens: 30, cache_read_input_tokens: 10, output_tokens: 1 },
        },
      }),
      namedFrame({
        type: "content_block_start",
        index: 0,
        content_block: { type: "text", text: "" },
      }),
      namedFrame({
        type: "content_block_delta",
        index: 0,
        delta: { type: "text_delta", text: "hi" },
      }),
      namedFrame({ type: "content_block_stop", index: 0 }),
      namedFrame({ type: "message_delta", delta: {}, usage: { output_tokens: 5 } }),
      namedFrame({ type: "message_stop" }),
    ],
    counts: 4,
  },
  {
    dialect: "anthropic-count-tokens",
    path: "/v1/messages/count_tokens",
    headers: ["anthropic-version", "2023-06-01"],
    bare: { model: "gpt-5-mini", messages: [TEXT] },
    limits: [],
    limited: [{}],
    unpriced: [{ mcp_servers: [] }, { max_tokens: 9 }],
    answer: { input_tokens: 4_000 },
  },
  {
    dialect: "gemini",
    path: "/v1beta/models/gpt-5-mini:streamGenerateContent?alt=sse",
    bare: { contents: [{ role: "user", parts: [{ text: "hello" }] }] },
    limits: [
      { generationConfig: { maxOutputTokens: 9, topK: 1 } },
      { generation_config: { max_output_tokens: 9 } },
    ],
    limited: [
      { generationConfig: { maxOutputTokens: 7 } },
      { generationConfig: { maxOutputTokens: 7, topK: 1 } },
      { generation_config: { maxOutputTokens: 7 } },
    ],
    unpriced: [
      { cachedContent: "cachedContents/c" },
      { cached_content: "cachedContents/c" },
      { tools: [{ googleSearch: {} }] },
      { contents: [{ parts: [{ fileData: { fileUri: "files/f" } }] }] },
      { generationConfig: { responseModalities: ["IMAGE"] } },
    ],
    answer: { candidates: [{ ...said, finishReason: "STOP" }], usageMetadata: GEMINI_USAGE },
    stream: [
      dataFrame({
        candidates: [said],
        usageMetadata: { ...GEMINI_USAGE, candidatesTokenCount: 1, totalTokenCount: 42 },
      }),
      dataFrame({ candidates: [{ ...said, finishReason: "STOP" }], usageMetadata: GEMINI_USAGE }),
    ],
    counts: 1,
  },
  {
    dialect: "mcp",
    path: "/mcp/jira",
    bare: { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "search" } },
    limits: [],
    limited: [{}],
    unpriced: [{ method: "sampling/createMessage" }, { method: "completion/complete" }],
    answer: { jsonrpc: "2.0", id: 1, result: { content: [{ type: "text", text: "hi" }] } },
  },
];

const COUNTED: Readonly<Record<DialectName, Usage>> = {
  openai: usage(30, 10, 5),
  "openai-responses": usage(30, 10, 5),
  "openai-embeddings": usage(40, 0, 0),
  anthropic: usage(30, 10, 5),
  // What these two bill is the call.
  "anthropic-count-tokens": usage(0, 0, 0),
  gemini: usage(30, 10, 5),
  mcp: usage(0, 0, 0),
};

function routeOf({ path, headers = [] }: Row) {
  const found = findRoute("POST", path, [...headers]);
  if (isMissing(found)) throw new Error(`${path}: ${found.missing}`);
  return found;
}

function read(row: Row, over: JsonObject = {}) {
  const { dialect, route } = routeOf(row);
  return dialect.read(route, { ...row.bare, ...over });
}

/** A request of the dialect, held in a world that can pay for it. */
async function held(row: Row) {
  const found = routeOf(row);
  const asked = read(row);
  if (isMissing(asked)) throw new Error(asked.missing);
  const world = new LoopWorld();
  world.lend({ usdMicros: 1_000_000n, tokens: 1_000_000n, calls: 10n }, 100_000n);
  const before = world.left;
  const body = judgedBody(found.dialect, row.bare);
  const request = world.asked({
    body,
    read: { ...asked, model: "gpt-5-mini" },
    // All prices of this world are those of one family.
    found: { ...found, dialect: { ...found.dialect, family: "openai" } },
  });
  const allowed = await hold(request, world.loop);
  if (!("permit" in allowed)) throw new Error(JSON.stringify(allowed.facts.cost));
  const spent = () => ({
    usdMicros: before.usdMicros - world.left.usdMicros,
    tokens: before.tokens - world.left.tokens,
    calls: before.calls - world.left.calls,
    overrunMicros: before.overrunMicros - world.left.overrunMicros,
  });
  const end = (over: Partial<Outcome>) => {
    const outcome = { ...DONE, ...over } as Outcome;
    settleRequest(request, allowed, outcome, world.loop);
    return spent();
  };
  return { world, allowed, end, hold: allowed.reserved.taken };
}

const DONE: Outcome = {
  kind: "done",
  reason: undefined,
  rule: undefined,
  usage: undefined,
  outputTextBytes: 2,
  scannedBytes: 2,
  hits: [],
  status: 200,
  sent: true,
};

const NOTHING = { usdMicros: 0n, tokens: 0n, calls: 0n, overrunMicros: 0n };

test("the table names every dialect that is spoken, once", () => {
  expect(ROWS.map(({ dialect }) => dialect).sort()).toEqual(Object.keys(DIALECTS).sort());
});

describe.each(ROWS)("money of $dialect", (row) => {
  test("its output limit is read, and a filled-in or lowered one goes upstream in its place", () => {
    const { dialect, route } = routeOf(row);
    const all = [{}, ...row.limits];
    for (const [no, limit] of all.entries()) {
      const asked = read(row, limit);
      if (isMissing(asked)) throw new Error(asked.detail);
      const writesNothing = row.limits.length === 0;
      expect(asked.maxOutputTokens).toBe(writesNothing ? 0 : no === 0 ? undefined : 9);
      const body = judgedBody(dialect, { ...row.bare, ...limit });
      const set = { model: "upstream-name", maxOutputTokens: 7 };
      const sent = JSON.parse(upstreamBytes(dialect, route, body, set).toString());
      expect(sent).toMatchObject(row.limited[no] as object);
      expect(JSON.stringify(sent)).not.toContain(":9");
    }
  });

  test.each(row.unpriced)("what has no price is refused: %j", (member) => {
    const asked = read(row, member as JsonObject);
    if (isMissing(asked)) expect(asked.missing).toBe("malformed_request");
    else expect(asked.unpricedParameter).toBeDefined();
  });

  test("what nobody has heard of is refused", () => {
    const asked = read(row, { unheardof: true });
    if (isMissing(asked)) expect(asked.missing).toBe("malformed_request");
    else expect(asked.unpricedParameter).toBe("unheardof");
  });

  test("a whole answer is charged as its provider counts it", async () => {
    const asked = row.dialect === "mcp" ? 1 : undefined;
    const part = routeOf(row).dialect.readAnswer(row.answer, asked);
    expect(part?.usage).toEqual(COUNTED[row.dialect]);
    const { end } = await held(row);
    const { inputTokens, cachedInputTokens, outputTokens } = COUNTED[row.dialect];
    const picos = inputTokens * 250_000 + cachedInputTokens * 25_000 + outputTokens * 2_000_000;
    expect(end({ usage: part?.usage })).toEqual({
      usdMicros: BigInt(Math.ceil(picos / 1e6)),
      tokens: BigInt(inputTokens + cachedInputTokens + outputTokens),
      calls: 1n,
      overrunMicros: 0n,
    });
  });

  test.each<[string, Partial<Outcome>]>([
    ["a client that has gone", { kind: "client_gone", reason: "client_gone" }],
    ["a provider that broke off", { kind: "upstream_failed", reason: "upstream_failed" }],
    ["an error of the provider's own", { status: 503 }],
    ["a cut from our side", { kind: "cut", reason: "content_cut" }],
    ["an answer without a count", {}],
    ["a count that stops before the answer does", { usage: usage(1, 0, 0), hasUncounted: true }],
  ])("%s is charged its hold, in full", async (_what, over) => {
    const { end, hold: taken } = await held(row);
    expect(end(over)).toEqual({ ...taken, overrunMicros: 0n });
  });

  test("what the provider refused costs the call alone, and what never left nothing", async () => {
    expect(await held(row).then(({ end }) => end({ status: 429 }))).toEqual({
      ...NOTHING,
      calls: 1n,
    });
    const never = { kind: "upstream_failed", reason: "upstream_unreachable", sent: false } as const;
    expect(await held(row).then(({ end }) => end(never))).toEqual(NOTHING);
  });
});

const STREAMS = ROWS.flatMap(({ stream, counts, ...row }) =>
  stream === undefined || counts === undefined ? [] : [{ ...row, stream, counts }],
);

function streamed({ dialect, wantsUsage }: { dialect: DialectName; wantsUsage: boolean }) {
  const relayed = relay(dialect, { wantsUsage });
  relayed.sink.onHead(200, EVENT_STREAM);
  return relayed;
}

describe.each(STREAMS)("a stream of $dialect", ({ dialect, stream, counts, ...row }) => {
  test("is counted over all of its reports, the larger of each", () => {
    const { sink, outcomes } = streamed({ dialect, wantsUsage: true });
    for (const frame of stream) sink.onData(Buffer.from(frame));
    sink.onEnd();
    expect(outcomes).toMatchObject([{ kind: "done", usage: COUNTED[dialect] }]);
    expect(outcomes[0]).not.toHaveProperty("hasUncounted");
  });

  test("that leaves its last count out is not counted", () => {
    const { sink, outcomes } = streamed({ dialect, wantsUsage: true });
    const silent = stream.map((frame, no) =>
      no === counts ? frame.replace(/"usage(?:Metadata)?":/, '"was":') : frame,
    );
    for (const frame of silent) sink.onData(Buffer.from(frame));
    sink.onEnd();
    const [outcome] = outcomes;
    expect(outcome?.usage === undefined || outcome.hasUncounted === true).toBe(true);
  });

  test("is cut where its cost reaches the hold, and says so in its dialect", () => {
    const meter = { onText: () => {}, onUsage: () => {}, spent: () => true };
    const { sink, outcomes, exchange, upstream } = relay(dialect, { meter });
    sink.onHead(200, EVENT_STREAM);
    for (const frame of stream) if (!upstream.aborted) sink.onData(Buffer.from(frame));
    expect(outcomes).toMatchObject([{ kind: "cut", reason: "hold_spent" }]);
    expect(exchange.written).not.toContain("hi");
    expect(exchange.ended).toBe(false);
    expect(exchange.lastFrame ?? exchange.answered?.body.toString()).toContain("hold_spent");
  });

  test("is asked for its count where it has to be, and the client sees only what it asked for", () => {
    const found = routeOf({ dialect, ...row } as Row);
    const asking = dialect === "gemini" ? row.bare : { ...row.bare, stream: true };
    const body = judgedBody(found.dialect, asking);
    const set = { model: "m", maxOutputTokens: undefined };
    const sent = JSON.parse(upstreamBytes(found.dialect, found.route, body, set).toString());
    expect(sent.stream_options?.include_usage).toBe(dialect === "openai" ? true : undefined);
    const { sink, exchange } = streamed({ dialect, wantsUsage: false });
    for (const frame of stream) sink.onData(Buffer.from(frame));
    sink.onEnd();
    const isShown = exchange.written.includes('"usage');
    expect(isShown).toBe(dialect !== "openai");
  });
});
