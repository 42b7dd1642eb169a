import { expect, test } from "vitest";
import type { JsonValue } from "../../../../../node/dataplane/dialects/dialect.ts";
import { DIALECTS } from "../../../../../node/dataplane/dialects/registry.ts";
import { readFrame, SseFrames } from "../../../../../node/dataplane/sse-frames.ts";
import { answersOf, streamOf } from "./whole-values.ts";

// Go's JSON reader takes a member for the one that it knows whatever its case, and the last of both.

const NAMES = ["openai", "openai-responses", "anthropic", "gemini"] as const;

/** By what stands in them a text or a call is judged. */
const JUDGED = new Set([
  ...["choices", "message", "delta", "content", "tool_calls", "function", "name", "arguments"],
  ...["output", "item", "response", "part", "text", "type", "content_block", "input"],
  ...["partial_json", "candidates", "parts", "functionCall", "args", "output_index", "index"],
]);

const LONG_S = "\u017f";

/** Copies of a value, each with one of its judged members beside itself in another spelling. */
function* speltOtherwise(value: JsonValue): Generator<[at: string, copy: JsonValue]> {
  const places: string[][] = [];
  const walk = (one: JsonValue, path: string[]): void => {
    if (typeof one !== "object" || one === null) return;
    for (const [name, member] of Object.entries(one)) {
      // What is null says nothing.
      if (JUDGED.has(name) && member !== null) places.push([...path, name]);
      walk(member, [...path, name]);
    }
  };
  walk(value, []);
  for (const path of places) {
    const name = path.at(-1) as string;
    for (const other of [name.toUpperCase(), name.replace("s", LONG_S)]) {
      if (other === name) continue;
      const copy = structuredClone(value);
      let holder = copy as Record<string, JsonValue>;
      for (const step of path.slice(0, -1)) holder = holder[step] as Record<string, JsonValue>;
      holder[other] = holder[name] as JsonValue;
      yield [[...path, other].join("."), copy];
    }
  }
}

test.each(NAMES)(
  "an answer of %s that has what is judged in two spellings is unreadable",
  (name) => {
    const dialect = DIALECTS[name];
    const tried = answersOf(name).map((answer) => {
      expect(dialect.readAnswer(answer)).toBeDefined();
      const all = [...speltOtherwise(answer)];
      for (const [at, copy] of all) expect([at, dialect.readAnswer(copy)]).toEqual([at, undefined]);
      return all.length;
    });
    expect(Math.min(...tried)).toBeGreaterThan(3);
  },
);

test.each(NAMES)("so is an event of %s", (name) => {
  const dialect = DIALECTS[name];
  let tried = 0;
  for (const pieces of [["one ", "two"], "tool"] as const) {
    const read = new SseFrames({ frameBytesMax: 1_000_000 }).push(
      Buffer.from(streamOf(name, pieces)),
    );
    const frames = read.flatMap((frame) => {
      const words = readFrame(frame);
      return words?.data?.startsWith("{") ? [{ event: words.event, data: words.data }] : [];
    });
    for (const [index, { event, data }] of frames.entries()) {
      for (const [at, copy] of speltOtherwise(JSON.parse(data))) {
        const reader = dialect.streamReader(true);
        for (const before of frames.slice(0, index)) reader.frame(before.event, before.data);
        const part = reader.frame(event, JSON.stringify(copy));
        expect([index, at, part]).toEqual([index, at, undefined]);
        tried += 1;
      }
    }
  }
  expect(tried).toBeGreaterThan(8);
});
