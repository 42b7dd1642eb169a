import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AlikeFrames, MODEL_BYTES_MAX } from "../../../../node/dataplane/alike-frames.ts";
import { AGAIN_CHARS_MAX } from "../../../../node/dataplane/answer-scan.ts";
import type { AnswerPart } from "../../../../node/dataplane/dialects/answer-part.ts";
import { DIALECTS } from "../../../../node/dataplane/dialects/registry.ts";
import { readFrame, type SseFrame } from "../../../../node/dataplane/sse-frames.ts";
import { proofCount } from "../../../support/proof.ts";
import { dataFrame, namedFrame } from "./relay-fixture.ts";

/** Those whose readers say what is prose. */
const NAMES = ["openai", "anthropic"] as const;
type Name = (typeof NAMES)[number];

function frameOf(text: string | Uint8Array): SseFrame {
  return { bytes: Buffer.from(text), begin: 0 };
}

/** A stream's reader with the frames that it knows, and how often it was asked. */
class Reading {
  readonly alike = new AlikeFrames();
  reads = 0;
  /** What the frame that others are like says beside its text, as each of them does. */
  aside: readonly string[] = [];
  readonly #reader: ReturnType<(typeof DIALECTS)[Name]["streamReader"]>;

  constructor(name: Name) {
    this.#reader = DIALECTS[name].streamReader(true);
  }

  /** What a relay takes from a frame: a text alone of those that are known. */
  take(frame: SseFrame): AnswerPart | string | undefined {
    const text = this.alike.textOf(frame);
    if (text !== undefined) return Buffer.from(text).toString();
    const part = this.read(frame);
    const { place } = this.alike;
    if (part !== undefined) this.alike.learn(frame, part, this.read);
    if (this.alike.place !== place) this.aside = part?.aside ?? [];
    return part;
  }

  readonly read = (frame: SseFrame): AnswerPart | undefined => {
    this.reads += 1;
    const words = readFrame(frame);
    if (words?.data === undefined || words.rest !== "") return undefined;
    return this.#reader.frame(words.event, words.data);
  };
}

const SAYS: Readonly<Record<Name, (text: string) => string>> = {
  openai: (content) =>
    dataFrame({ id: "c", choices: [{ index: 0, delta: { content }, finish_reason: null }] }),
  anthropic: (text) =>
    namedFrame({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } }),
};

/** Frames that say something else, or in another way. */
const OTHERS: Readonly<Record<Name, readonly string[]>> = {
  openai: [
    'data: {"id":"word","choices":[{"index":0,"delta":{"content":"word"}}]}\n\n',
    'data: {"id":"c","choices":[{"index":1,"delta":{"reasoning":"word"},"finish_reason":null}]}\n\n',
    dataFrame({ choices: [{ index: 0, delta: { tool_calls: [{ function: { name: "wo" } }] } }] }),
    dataFrame({ choices: [{ index: 0, delta: { tool_calls: [{ function: { name: "rd" } }] } }] }),
    dataFrame({
      choices: [{ index: 0, delta: { tool_calls: [{ function: { arguments: "{}" } }] } }],
    }),
    dataFrame({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }),
    dataFrame({ choices: [{ index: 0, delta: { content: "word", other: "x" } }] }),
    "data: [DONE]\n\n",
  ],
  anthropic: [
    namedFrame({
      type: "content_block_delta",
      index: 0,
      delta: { type: "input_json_delta", partial_json: "word" },
    }),
    namedFrame({ type: "content_block_stop", index: 0 }),
    'event: ping\ndata: {"type": "ping"}\n\n',
    'data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"a"}}\n\n',
  ],
};

const texts = fc.oneof(
  fc.constantFrom("word", "Hello", "trial", " ", "é😀", '"', "\\", "\n", "\u0000", '"}', ":", ""),
  fc.string({ unit: "grapheme", maxLength: 6 }),
);

describe.each(NAMES)("frames of %s", (name) => {
  const frames = fc.oneof(
    { weight: 6, arbitrary: texts.map(SAYS[name]) },
    { weight: 1, arbitrary: fc.constantFrom(...OTHERS[name]) },
    { weight: 1, arbitrary: fc.constantFrom(": note\n\n", "id: 1\ndata: {}\n\n") },
  );
  const edits = fc.record({
    at: fc.nat(200),
    out: fc.nat(3),
    put: fc.constantFrom("", '"', "\\", "\\u0041", ",", "\n", "}", '":"', "\xff", "data:"),
  });

  test("that are known say what reading them would say", () => {
    const { count, seed } = proofCount(`alike ${name}`, { small: 600, full: 100_000 });
    const stream = fc.array(fc.tuple(frames, fc.option(edits, { freq: 6 })), { maxLength: 14 });
    fc.assert(
      fc.property(stream, (all) => {
        const [quick, whole] = [new Reading(name), new Reading(name)];
        for (const [text, edit] of all) {
          const frame = frameOf(edit === null ? text : edited(text, edit));
          const [taken, read] = [quick.take(frame), whole.read(frame)];
          if (typeof taken !== "string") expect(taken).toEqual(read);
          else expect(read).toEqual(onlyText(taken, quick));
        }
      }),
      { numRuns: count, seed },
    );
  });
});

function edited(text: string, { at, out, put }: { at: number; out: number; put: string }) {
  const bytes = Buffer.from(text);
  const from = at % (bytes.length + 1);
  return Buffer.concat([
    bytes.subarray(0, from),
    Buffer.from(put, "latin1"),
    bytes.subarray(from + out),
  ]);
}

function onlyText(text: string, { alike, aside }: Reading): object {
  return {
    ...{ texts: [text], pieces: [{ ...alike.place, text, isProse: true }] },
    ...{ aside, toolNames: [], endedGroups: [], calls: [], usage: undefined },
    ...{ last: false, ours: false, beginsOther: false, failed: false, rewritten: undefined },
  };
}

describe.each(NAMES)("a stream of %s", (name) => {
  test("is read at its beginning, and then where something else is said", () => {
    const reading = new Reading(name);
    for (let i = 0; i < 100; i++) reading.take(frameOf(SAYS[name](`wörd${i} `)));
    expect(reading.reads).toBe(2);
    reading.take(frameOf(OTHERS[name][1] as string));
    for (let i = 0; i < 100; i++) reading.take(frameOf(SAYS[name](`more${i} `)));
    expect(reading.reads).toBe(name === "openai" ? 6 : 5);
  });

  test("in which no frame is like another costs a few readings more", () => {
    const reading = new Reading(name);
    for (let i = 0; i < 100; i++) {
      const said = SAYS[name]("word");
      reading.take(frameOf(said.replace("data: {", `data: {"created":${i},`)));
    }
    expect(reading.reads).toBe(108);
  });
});

test("a text that stands elsewhere too is not looked for there", () => {
  const { alike, take } = readingOf("openai");
  const frame = (id: string, content: string) =>
    frameOf(`data: {"id":"${id}","choices":[{"index":0,"delta":{"content":"${content}"}}]}\n\n`);
  take(frame("word", "\\u0077ord"));
  expect(alike.textOf(frame("S-123456", "\\u0077ord"))).toBeUndefined();
  take(frame("word", "word"));
  expect(alike.textOf(frame("other", "word"))).toBeUndefined();
});

test("of two texts in each frame both are read", () => {
  const { alike, take } = readingOf("openai");
  const frame = (content: string) =>
    frameOf(dataFrame({ choices: [{ index: 0, delta: { content, reasoning: "more" } }] }));
  take(frame("word"));
  expect(alike.textOf(frame("other"))).toBeUndefined();
});

test("a frame behind a byte order mark is not like one that has it in its midst", () => {
  const { alike, take } = readingOf("openai");
  const bytes = Buffer.from(`\ufeff${SAYS.openai("word")}`);
  take({ bytes, begin: 3 });
  expect(alike.textOf({ bytes, begin: 0 })).toBeUndefined();
});

test("a frame is kept for those that follow up to its largest size", () => {
  const frame = (space: string, content: string) =>
    frameOf(dataFrame({ choices: [{ index: 0, delta: { content } }] }).replace("{", `{${space}`));
  const room = MODEL_BYTES_MAX - frame("", "word").bytes.length;
  for (const [bytes, known] of [
    [room, "more"],
    [room + 1, undefined],
  ] as const) {
    const { alike, take } = readingOf("openai");
    take(frame(" ".repeat(bytes), "word"));
    const text = alike.textOf(frame(" ".repeat(bytes), "more"));
    expect(text && Buffer.from(text).toString()).toBe(known);
  }
});

test("a frame is kept only if what it says beside its text is known when it comes again", () => {
  const frame = (id: string, content: string) =>
    frameOf(dataFrame({ id, choices: [{ index: 0, delta: { content } }] }));
  for (const [chars, known] of [
    [AGAIN_CHARS_MAX, true],
    [AGAIN_CHARS_MAX + 1, false],
  ] as const) {
    const { alike, take } = readingOf("openai");
    take(frame("x".repeat(chars), "word"));
    expect(alike.textOf(frame("x".repeat(chars), "more")) !== undefined).toBe(known);
  }
});

test("a name that comes in pieces is put together by reading each", () => {
  const { alike, take } = readingOf("openai");
  const call = (name: string) =>
    dataFrame({ choices: [{ index: 0, delta: { tool_calls: [{ function: { name } }] } }] });
  take(frameOf(call("forb")));
  take(frameOf(call("idd")));
  expect(alike.textOf(frameOf(call("en")))).toBeUndefined();
});

function readingOf(name: Name) {
  const reading = new Reading(name);
  return { alike: reading.alike, take: (frame: SseFrame) => reading.take(frame) };
}
