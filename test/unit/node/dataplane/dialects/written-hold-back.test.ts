import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { proofCount } from "../../../../support/proof.ts";
import { CALL_STREAMS } from "../call-streams.ts";
import { answerRules, contentRule, EVENT_STREAM, relay } from "../relay-fixture.ts";
import { streamOf } from "./whole-values.ts";

// However a match is written (as itself or in escapes, within a text or a call's arguments), whatever its
// characters are made of and wherever they are cut: not one of them is released, and what is clean comes whole.

const MATCH = /ключ-😀é[0-9]{3}/;
const rules = answerRules([contentRule({ pattern: MATCH.source })]);

const piece = fc.constantFrom(
  ...[
    "к",
    "лю",
    "ключ",
    "ключ-",
    "-😀",
    "ключ-😀é",
    "é12",
    "3",
    "45",
    "ключ-😀é123",
    "чисто ",
    "x",
  ],
);
const cuts = fc.array(fc.nat(), { maxLength: 8 });
/** Any of them in a row, or a match cut up, each piece a character or more. */
const pieces = fc.oneof(
  fc.array(piece, { minLength: 1, maxLength: 10 }),
  cuts.map((places) => cutAt([..."чисто ключ-😀é123 x"], places).filter((one) => one !== "")),
);
/** Which characters are written in escapes, and in which letters. */
const escapes = fc.array(fc.constantFrom("", "", "lower", "upper"), { minLength: 1, maxLength: 7 });

function cutAt(characters: readonly string[], places: readonly number[]): readonly string[] {
  const edges = [0, ...places.map((at) => at % characters.length).sort((a, b) => a - b)];
  return edges.map((from, i) => characters.slice(from, edges[i + 1]).join(""));
}

/** Writes characters beyond ASCII in escapes where `how` says so, over and over. */
function written(text: string, how: readonly string[]): string {
  let at = 0;
  return text.replaceAll(/[^\n -~]/gu, (character) => {
    const as = how[at++ % how.length];
    if (as === "") return character;
    const units = Array.from({ length: character.length }, (_, i) =>
      character.charCodeAt(i).toString(16).padStart(4, "0"),
    );
    return units.map((unit) => `\\u${as === "upper" ? unit.toUpperCase() : unit}`).join("");
  });
}

type Name = Parameters<typeof relay>[0];

function relayed(name: Name, bytes: Buffer, places: readonly number[]) {
  const one = relay(name, { rules });
  const edges = [0, ...places.map((at) => at % bytes.length).sort((a, b) => a - b)];
  one.sink.onHead(200, EVENT_STREAM);
  for (const [i, from] of edges.entries()) one.sink.onData(bytes.subarray(from, edges[i + 1]));
  return one;
}

/** What a client joins of the pieces that it got, of texts or of arguments. */
function joined(stream: string): string {
  const lines = stream.split("\n").filter((one) => one.startsWith("data: {"));
  return lines.map((line) => pieceIn(JSON.parse(line.slice("data: ".length)))).join("");
}

// biome-ignore lint/suspicious/noExplicitAny: events of four dialects, each in a shape of its own.
function pieceIn({ type, delta, candidates, choices }: any): string {
  if (typeof delta === "string") return type.endsWith(".delta") ? delta : "";
  const chosen = choices?.[0]?.delta;
  const called = chosen?.tool_calls?.[0]?.function.arguments;
  const gemini = candidates?.[0]?.content?.parts?.[0]?.text;
  return called ?? chosen?.content ?? delta?.partial_json ?? delta?.text ?? gemini ?? "";
}

const CUT = [{ kind: "cut", reason: "content_cut" }];

describe.each(["openai", "openai-responses", "anthropic", "gemini"] as const)(
  "a text in a stream of %s",
  (name) => {
    const { count: numRuns, seed } = proofCount(`written hold-back ${name}`, {
      small: 120,
      full: 20_000,
    });

    test("has no character of a match released, and is whole when it is clean", () => {
      const streams = fc.property(pieces, escapes, cuts, (said, how, places) => {
        const text = said.join("");
        const match = MATCH.exec(text);
        const bytes = Buffer.from(written(streamOf(name, said), how));
        const { exchange, sink, outcomes } = relayed(name, bytes, places);
        sink.onEnd();
        const read = joined(exchange.written);
        if (match === null) {
          expect([read, exchange.ended]).toEqual([text, true]);
          return;
        }
        expect(outcomes).toMatchObject(CUT);
        expect(text.slice(0, match.index).startsWith(read)).toBe(true);
      });
      fc.assert(streams, { numRuns, seed });
    });
  },
);

describe.each(CALL_STREAMS)(
  "a call's arguments in a stream of $name",
  ({ name, open, piece: of }) => {
    const { count: numRuns, seed } = proofCount(`arguments' hold-back ${name}`, {
      small: 120,
      full: 20_000,
    });

    test("have no character of a match released, and none but those are cut", () => {
      const streams = fc.property(pieces, escapes, cuts, cuts, (said, how, places, seams) => {
        const text = said.join("");
        const match = MATCH.exec(text);
        const characters = [...`{"q":"${written(text, how)}"}`];
        const edges = [0, ...seams.map((at) => at % characters.length).sort((a, b) => a - b)];
        const frames = edges.map((from, i) => of(characters.slice(from, edges[i + 1]).join("")));
        const bytes = Buffer.from(written(open + frames.join(""), [...how].reverse()));
        const { exchange, outcomes } = relayed(name, bytes, places);
        const read = joined(exchange.written);
        expect(outcomes).toMatchObject(match === null ? [] : CUT);
        const releasable =
          match === null ? characters.join("") : `{"q":"${before(text, match, how)}`;
        expect(releasable.startsWith(read)).toBe(true);
      });
      fc.assert(streams, { numRuns, seed });
    });
  },
);

function before(text: string, match: RegExpExecArray, how: readonly string[]): string {
  return written(text.slice(0, match.index), how);
}
