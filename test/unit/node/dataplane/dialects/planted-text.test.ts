import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AnswerPart } from "../../../../../node/dataplane/dialects/answer-part.ts";
import type { DialectName, JsonValue } from "../../../../../node/dataplane/dialects/dialect.ts";
import { DIALECTS, findRoute } from "../../../../../node/dataplane/dialects/registry.ts";
import { readFrame, SseFrames, type SseWords } from "../../../../../node/dataplane/sse-frames.ts";
import { proofCount } from "../../../../support/proof.ts";
import { answersOf, REQUESTS, streamOf } from "./whole-values.ts";

// Whatever somebody writes, wherever they put it: it is scanned, or what holds it is refused. And
// whatever comes, no reader throws.

const { count: numRuns, seed } = proofCount("planted texts", { small: 200, full: 20_000 });
const PLANTED = "PLANTED-7f3a";

/** Vectors, and what a failure is told as in our own words. */
const UNTOLD = new Set(["embedding", "message"]);

/** What a response says again of its request's settings, which was scanned as a request. */
const ECHO = /^(?:\.response)?\.\+?text$/;

function isNaming(at: string): boolean {
  return ECHO.test(at) || at.split(".").some((name) => UNTOLD.has(name));
}

const NAMES = Object.keys(DIALECTS) as DialectName[];

/** Anything JSON, with the text planted in it somewhere. */
const planted = fc.constantFrom<JsonValue[]>(
  PLANTED,
  `before ${PLANTED} after`,
  [PLANTED],
  { type: "text", text: PLANTED },
  { [PLANTED]: true },
  { deeper: [{ text: PLANTED }] },
);

/** A copy of a value with something in place of one of its members, or beside them, or with the text as the name of one. */
function plant(value: JsonValue, pick: number, what: JsonValue): { value: JsonValue; at: string } {
  const places: { holder: Record<string, JsonValue>; name: string; at: string }[] = [];
  const copy = structuredClone(value);
  const walk = (one: JsonValue, at: string): void => {
    if (typeof one !== "object" || one === null) return;
    const holder = one as Record<string, JsonValue>;
    for (const name of Object.keys(holder)) {
      places.push({ holder, name, at: `${at}.${name}` });
      walk(holder[name] as JsonValue, `${at}.${name}`);
    }
    if (Array.isArray(one)) return;
    for (const name of ["unheard_of", "text", "delta", "item", "name", PLANTED]) {
      if (!Object.hasOwn(holder, name)) places.push({ holder, name, at: `${at}.+${name}` });
    }
  };
  walk(copy, "");
  const { holder, name, at } = places[pick % places.length] as (typeof places)[number];
  holder[name] = name === PLANTED ? 1 : what;
  return { value: copy, at };
}

function isRead(part: AnswerPart | undefined): boolean {
  if (part === undefined || part.failed) return true;
  return [...part.texts, ...part.aside].some((text) => text.includes(PLANTED));
}

describe.each(NAMES)("%s", (name) => {
  const dialect = DIALECTS[name];
  const { path, body } = REQUESTS[name];
  const asked = body.id as number | undefined;
  const found = findRoute("POST", path.includes("stream") ? `${path}?alt=sse` : path, []);
  if ("missing" in found) throw new Error(`${path} is no route`);

  test("takes the request as it is", () => {
    expect(dialect.read(found.route, body)).toMatchObject({ unpricedParameter: undefined });
  });

  test("scans or refuses every text of a request", () => {
    const plants = fc.property(fc.nat(), planted, (pick, what) => {
      const { value, at } = plant(body, pick, what);
      const read = dialect.read(found.route, value as typeof body);
      if ("missing" in read || read.unpricedParameter !== undefined) return;
      expect([at, read.texts.some((text) => text.includes(PLANTED))]).toEqual([at, true]);
    });
    fc.assert(plants, { numRuns, seed });
  });

  test("scans or refuses every text of a whole answer", () => {
    const plants = fc.property(fc.nat(), fc.nat(1), planted, (pick, which, what) => {
      const { value, at } = plant(answersOf(name)[which] as JsonValue, pick, what);
      if (isNaming(at)) return;
      expect([at, isRead(dialect.readAnswer(value, asked))]).toEqual([at, true]);
    });
    fc.assert(plants, { numRuns, seed });
  });

  test("scans or refuses every text of a stream's frame", () => {
    if (!path.includes("stream") && streamOf(name, ["x"]) === "") return;
    const plants = fc.property(fc.nat(), fc.nat(), planted, (pick, which, what) => {
      const frames = framesOf(streamOf(name, which % 2 === 0 ? ["one ", "two"] : "tool"));
      const reader = dialect.streamReader(true, asked);
      const target = which % frames.length;
      for (const [index, { event, data }] of frames.entries()) {
        if (data === undefined || data === "[DONE]") continue;
        if (index !== target) {
          reader.frame(event, data);
          continue;
        }
        const { value, at } = plant(JSON.parse(data), pick, what);
        const part = reader.frame(event, JSON.stringify(value));
        if (!isNaming(at)) expect([at, isRead(part)]).toEqual([at, true]);
        return;
      }
    });
    fc.assert(plants, { numRuns, seed });
  });

  test("never throws, whatever JSON comes", () => {
    const anything = fc.property(fc.jsonValue(), (value) => {
      const json = value as JsonValue;
      const isObject = typeof json === "object" && json !== null && !Array.isArray(json);
      if (isObject) dialect.read(found.route, json);
      dialect.readAnswer(json);
      dialect.streamReader(false).frame(undefined, JSON.stringify(json));
    });
    fc.assert(anything, { numRuns, seed });
    for (const data of ["", "{", "null", "[]", "[DONE]", '{"a":1,"a":2}', '"\\ud800"']) {
      dialect.streamReader(true).frame("x", data);
    }
  });
});

function framesOf(stream: string) {
  const frames = new SseFrames({ frameBytesMax: 1_000_000 }).push(Buffer.from(stream));
  return frames.map((frame) => readFrame(frame) as SseWords);
}
