import type { Meter, Outcome, RelayInput } from "../../../../node/dataplane/client-leg.ts";
import { compileContentNow } from "../../../../node/dataplane/content-scanners.ts";
import type { RelayDialect } from "../../../../node/dataplane/dialects/answer-part.ts";
import { DIALECTS } from "../../../../node/dataplane/dialects/registry.ts";
import { relayAnswer } from "../../../../node/dataplane/relay-answer.ts";
import type { ResponseSink } from "../../../../node/dataplane/upstream-leg.ts";
import type { ContentRule } from "../../../../policy/compiled-policy.ts";
import { REASONS } from "../../../../proto/reasons.ts";
import { RecordedExchange } from "./recorded-exchange.ts";

/** Names the characters of a rule's matches so that a test can look for any of them. */
export const SECRET = /S-[0-9]{6}/;

export function contentRule(over: Partial<ContentRule> = {}): ContentRule {
  return {
    id: "secret",
    pattern: SECRET.source,
    detector: undefined,
    direction: "both",
    action: "refuse",
    severity: "high",
    label: undefined,
    ...over,
  };
}

const RULES = [
  contentRule(),
  contentRule({ id: "warned", pattern: "warn-[0-9]+", action: "warn" }),
];

export function answerRules(rules: readonly ContentRule[] = RULES): RelayInput["rules"] {
  const refusing = new Set(rules.filter(({ action }) => action === "refuse").map(({ id }) => id));
  const bounded = rules.map((rule) => ({ ...rule, pattern: rule.pattern?.replace("+", "{1,9}") }));
  const { response } = compileContentNow(bounded as ContentRule[]);
  return { set: response, refuses: (id) => refusing.has(id) };
}

export const FREE: Meter = { onText: () => {}, onUsage: () => {}, spent: () => false };

export type Relayed = {
  readonly exchange: RecordedExchange;
  readonly sink: ResponseSink;
  readonly outcomes: Outcome[];
  readonly upstream: { aborted: boolean; resumed: number; sent: boolean; faults: unknown[] };
};

/** A relay between a recorded client and whoever plays the provider. */
export function relay(dialect: RelayDialect["name"], over: Partial<RelayInput> = {}): Relayed {
  const exchange = new RecordedExchange();
  const outcomes: Outcome[] = [];
  const upstream = { aborted: false, resumed: 0, sent: true, faults: [] as unknown[] };
  const sink = relayAnswer({
    exchange,
    dialect: DIALECTS[dialect],
    stream: true,
    wantsUsage: dialect === "anthropic",
    rules: answerRules(),
    toolGranted: (name) => name !== "forbidden",
    meter: FREE,
    answerBytesMax: 4 * 1024 * 1024,
    headers: ["x-altrace-decision", "allow"],
    refusal: (reason) => ({
      status: REASONS[reason].status,
      headers: [],
      body: Buffer.from(reason),
    }),
    scrub: (text) => text.replaceAll("provider-key", "[redacted]"),
    onOutcome: (outcome) => outcomes.push(outcome),
    ...(dialect === "mcp" && { answersTo: 1 }),
    ...over,
  });
  sink.attach({
    get sent() {
      return upstream.sent;
    },
    abort: () => {
      upstream.aborted = true;
    },
    resume: () => {
      upstream.resumed += 1;
    },
    fault: (error) => {
      upstream.faults.push(error);
      sink.onError("stage_failed", upstream.sent);
    },
  });
  return { exchange, sink, outcomes, upstream };
}

/** What a client reads out of the bytes that it got: the joined content of the first choice. */
export function contentOf(dialect: RelayDialect["name"], bytes: string): string {
  let text = "";
  for (const frame of bytes.split(/\r?\n\r?\n/)) {
    const line = frame.split(/\r?\n/).find((one) => one.startsWith("data: {"));
    if (line === undefined) continue;
    const data = JSON.parse(line.slice("data: ".length));
    const delta = dialect === "openai" ? data.choices?.[0]?.delta : data.delta;
    text += delta?.content ?? delta?.text ?? "";
  }
  return text;
}

const CHUNK = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m" };

/** Frames of a stream that says some texts one after the other, as its provider writes them. */
export function streamOf(dialect: RelayDialect["name"], texts: readonly string[]): string[] {
  if (dialect === "openai") {
    const frame = (choice: object) => dataFrame({ ...CHUNK, choices: [{ index: 0, ...choice }] });
    return [
      frame({ delta: { role: "assistant", content: "" }, finish_reason: null }),
      ...texts.map((content) => frame({ delta: { content }, finish_reason: null })),
      frame({ delta: {}, finish_reason: "stop" }),
      dataFrame({ ...CHUNK, choices: [], usage: { prompt_tokens: 9, completion_tokens: 5 } }),
      "data: [DONE]\n\n",
    ];
  }
  const usage = { input_tokens: 9, output_tokens: 1 };
  const message = { id: "msg_1", type: "message", role: "assistant", content: [], usage };
  const block = { type: "text", text: "" };
  return [
    namedFrame({ type: "message_start", message }),
    namedFrame({ type: "content_block_start", index: 0, content_block: block }),
    'event: ping\ndata: {"type": "ping"}\n\n',
    ...texts.map((text) =>
      namedFrame({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } }),
    ),
    namedFrame({ type: "content_block_stop", index: 0 }),
    namedFrame({
      type: "message_delta",
      delta: { stop_reason: "end_turn" },
      usage: { output_tokens: 5 },
    }),
    namedFrame({ type: "message_stop" }),
  ];
}

export function dataFrame(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}

export function namedFrame(data: {
  readonly type: string;
  readonly [member: string]: unknown;
}): string {
  return `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** What an OpenAI client is sent of a stream whose usage it did not ask for. */
export function withoutUsage(frames: readonly string[]): string {
  return frames.filter((frame) => !frame.includes('"usage"')).join("");
}

export const EVENT_STREAM = ["Content-Type", "text/event-stream; charset=utf-8", "X-Other", "y"];
