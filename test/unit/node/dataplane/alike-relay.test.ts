import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Outcome } from "../../../../node/dataplane/client-leg.ts";
import type { AnswerPart, RelayDialect } from "../../../../node/dataplane/dialects/answer-part.ts";
import { DIALECTS } from "../../../../node/dataplane/dialects/registry.ts";
import { proofCount } from "../../../support/proof.ts";
import { EVENT_STREAM, relay } from "./relay-fixture.ts";

type Name = "openai" | "anthropic";

/** A frame around a text, which is spelled as it is to stand between quotes. */
type Shape = (spelled: string) => string;

const choice = (delta: string, rest = ""): string =>
  `{"id":"c","choices":[{"index":0,"delta":{${delta}}${rest}}]}`;
const calls = (index: number, call: string): string =>
  `{"choices":[{"index":${index},"delta":{"tool_calls":[{"index":0,"function":{${call}}}]}}]}`;
const block = (delta: string, rest = ""): string =>
  `{"type":"content_block_delta","index":0,"delta":{${delta}}${rest}}`;

/** One way to write a frame each; what an attacker may choose is among them. */
const SHAPES: Readonly<Record<Name, readonly Shape[]>> = {
  openai: [
    (text) => `data: ${choice(`"content":"${text}"`)}\n\n`,
    (text) => `data: ${choice(`"content":"${text}"`, ',"finish_reason":null')}\n\n`,
    (text) => `data: ${choice(`"content":"${text}"`).replace('"index":0', '"index":1')}\n\n`,
    (text) => `data: ${choice(`"reasoning":"${text}"`)}\n\n`,
    (text) => `data: ${choice(`"refusal":"${text}"`)}\n\n`,
    // The same text twice, or where no client looks.
    (text) => `data: ${choice(`"content":"${text}","reasoning":"${text}"`)}\n\n`,
    (text) => `data: ${choice(`"content":"${text}"`).replace('"c"', `"${text}"`)}\n\n`,
    (text) => `event: "${text}"\ndata: ${choice(`"content":"${text}"`)}\n\n`,
    // Beside another one.
    (text) => `data: ${choice(`"content":"${text}","reasoning":"S-1"`)}\n\n`,
    (text) =>
      `data: ${choice(`"content":"${text}"`).replace("]", ',{"index":1,"delta":{"content":"S-1"}}]')}\n\n`,
    // A name twice, escaped, or of what is within.
    (text) => `data: ${choice(`"content":"a","content":"${text}"`)}\n\n`,
    (text) => `data: ${choice(`"content":"${text}","content":"a"`)}\n\n`,
    (text) => `data: ${choice(`"c\\u006fntent":"${text}"`)}\n\n`,
    (text) => `data: ${choice(`"content":{"content":"${text}"}`)}\n\n`,
    (text) => `data: ${choice(`"content":["${text}"]`)}\n\n`,
    (text) => `data: ${choice(`"${text}":"word"`)}\n\n`,
    // Lines.
    (text) => `data: {"choices":[{"index":0,\ndata: "delta":{"content":"${text}"}}]}\n\n`,
    (text) => `data: ${choice(`"content":"${text}"`)}\r\n\r\n`,
    (text) => `data:${choice(`"content":"${text}"`)}\r\r`,
    (text) => `: note\ndata: ${choice(`"content":"${text}"`)}\n\n`,
    (text) => `\ufeffdata: ${choice(`"content":"${text}"`)}\n\n`,
    (text) => `id: 7\ndata: ${choice(`"content":"${text}"`)}\n\n`,
    // What is more than prose.
    (text) => `data: ${choice(`"content":"${text}"`, ',"finish_reason":"stop"')}\n\n`,
    (text) => `data: ${choice(`"content":"${text}"`, ',"other":"S-123456"')}\n\n`,
    (text) =>
      `data: ${choice(`"content":"${text}"`).slice(0, -1)},"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n`,
    (text) => `data: ${calls(0, `"name":"${text}"`)}\n\n`,
    (text) => `data: ${calls(0, `"arguments":"${text}"`)}\n\n`,
    (text) => `data: ${calls(1, `"name":"ok","arguments":"${text}"`)}\n\n`,
    (text) =>
      `data: {"choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"function":{"name":"ok"}}],"content":"${text}"}}]}\n\n`,
    (text) => `data: {"error":"${text}"}\n\n`,
    () => "data: [DONE]\n\n",
  ],
  anthropic: [
    (text) =>
      `event: content_block_delta\ndata: ${block(`"type":"text_delta","text":"${text}"`)}\n\n`,
    (text) => `data: ${block(`"type":"text_delta","text":"${text}"`)}\n\n`,
    (text) => `data: ${block(`"type":"thinking_delta","thinking":"${text}"`)}\n\n`,
    (text) => `data: ${block(`"text":"${text}","type":"text_delta"`)}\r\n\r\n`,
    (text) => `data: ${block(`"type":"text_delta","text":"${text}"`).replace(":0", ":1")}\n\n`,
    (text) => `data: ${block(`"type":"text_delta","text":"a","text":"${text}"`)}\n\n`,
    (text) => `data: ${block(`"type":"text_delta","text":"${text}","other":"${text}"`)}\n\n`,
    (text) => `data: ${block(`"type":"text_delta","text":"${text}"`, ',"other":"S-123456"')}\n\n`,
    (text) => `data: ${block(`"type":"${text}","text":"word"`)}\n\n`,
    (text) => `data: ${block(`"type":"input_json_delta","partial_json":"${text}"`)}\n\n`,
    (text) =>
      `data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":"${text}"}}\n\n`,
    () => 'data: {"type":"content_block_stop","index":0}\n\n',
    () => 'event: ping\ndata: {"type":"ping"}\n\n',
    (text) =>
      `data: {"type":"message_delta","delta":{"stop_reason":"${text}"},"usage":{"output_tokens":5}}\n\n`,
    (text) => `data: {"type":"error","error":{"message":"${text}"}}\n\n`,
    () => 'data: {"type":"message_stop"}\n\n',
  ],
};

const spelled = fc.oneof(
  fc.constantFrom("word", "Hello ", "trial", "index", "content", "text", "text_delta", "role", ""),
  // Parts of what is refused, as they are and escaped.
  fc.constantFrom("S-", "S\\u002d12", "12", "3456", "S-123456", "warn-", "7", "ok", "forbidden"),
  // What ends a string, or does not; halves of a character.
  fc.constantFrom(
    '\\"',
    "\\\\",
    "\\n",
    '"',
    "\\",
    "\n",
    "\t",
    "\\ud83d",
    "\\ude00",
    "é😀",
    "\u2028",
  ),
  fc.constantFrom('"}}]}', '"},"finish_reason":null}]}', '","tool_calls":[', '\\"}}]}'),
);

/** The same dialect, none of whose texts says that it need not be read. */
function readEach(dialect: RelayDialect): RelayDialect {
  const plain = (part: AnswerPart): AnswerPart =>
    Object.assign(part, { pieces: part.pieces.map(({ isProse: _, ...piece }) => piece) });
  return {
    ...dialect,
    streamReader: (wantsUsage) => {
      const reader = dialect.streamReader(wantsUsage);
      return {
        ...reader,
        frame: (...said) => {
          const part = reader.frame(...said);
          return part && plain(part);
        },
      };
    },
  };
}

/** All that can be seen of a relay from outside, chunk after chunk. */
function seen(name: Name, dialect: RelayDialect, chunks: readonly Uint8Array[], costMax: number) {
  let cost = 0;
  const steps: unknown[] = [];
  const meter = {
    onText: (bytes: number) => {
      cost += bytes;
    },
    onUsage: (usage: unknown) => steps.push(usage),
    spent: () => cost > costMax,
  };
  const argumentRules = { has: (tool: string) => tool === "ok", refused: () => undefined };
  const { sink, exchange, outcomes } = relay(name, { dialect, meter, argumentRules });
  sink.onHead(200, EVENT_STREAM);
  for (const chunk of chunks) {
    if (outcomes.length === 0) sink.onData(chunk);
    steps.push([exchange.written, cost]);
  }
  if (outcomes.length === 0) sink.onEnd();
  const outcome = outcomes[0] as Outcome;
  return { steps, cost, outcome, written: exchange.written, lastFrame: exchange.lastFrame };
}

describe.each(["openai", "anthropic"] as const)("a relay of %s", (name) => {
  const run = fc.tuple(
    fc.oneof(
      { weight: 2, arbitrary: fc.nat(SHAPES[name].length - 1) },
      { weight: 3, arbitrary: fc.nat(3) },
    ),
    fc.array(spelled, { minLength: 1, maxLength: 5 }),
  );

  test("does the same whether it knows frames or reads each", () => {
    const { count, seed } = proofCount(`alike relay ${name}`, { small: 300, full: 30_000 });
    const bad = fc.option(fc.nat(2_000), { freq: 8 });
    const asked = fc.record({
      runs: fc.array(run, { minLength: 1, maxLength: 6 }),
      cuts: fc.array(fc.nat(2_000), { maxLength: 3 }),
      costMax: fc.constantFrom(12, 1_000),
      bad,
    });
    fc.assert(
      fc.property(asked, ({ runs, cuts, costMax, bad: at }) => {
        const text = runs.flatMap(([no, texts]) => texts.map((one) => SHAPES[name][no]?.(one)));
        const bytes = Buffer.from(text.join(""));
        if (at !== null && at < bytes.length) bytes[at] = 0xff;
        const chunks = chunksOf(bytes, cuts);
        const quick = seen(name, DIALECTS[name], chunks, costMax);
        expect(quick).toEqual(seen(name, readEach(DIALECTS[name]), chunks, costMax));
      }),
      { numRuns: count, seed },
    );
  });
});

function chunksOf(bytes: Buffer, cuts: readonly number[]): readonly Uint8Array[] {
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort(
    (a, b) => a - b,
  );
  return at.slice(1).map((end, no) => bytes.subarray(at[no], end));
}

test.each([
  ["is written as", '"index":0,"function"', '"content":"index"'],
  ["is written otherwise than", '"function"', '"content":"inde\\u0078"'],
])(
  "a text that %s the name of a member is not tried in that one's place",
  (_how, call, content) => {
    const frames = [
      calls(1, '"name":"ok","arguments":"{}"'),
      // With another name for the member before it, this would be a call of the first choice.
      `{"choices":[{"index":1,"delta":{"tool_calls":[{${call}:{"name":"ok"}}],${content}}}]}`,
      // Arguments of a call that nobody has named.
      calls(0, '"arguments":"{}"'),
    ];
    const chunks = frames.map((frame) => Buffer.from(`data: ${frame}\n\n`));
    const { outcome } = seen("openai", DIALECTS.openai, chunks, 1_000);
    expect(outcome.reason).toBe("response_unscannable");
  },
);
