import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { proofCount } from "../../../../support/proof.ts";
import { EVENT_STREAM, relay, SECRET } from "../relay-fixture.ts";
import { streamOf } from "./whole-values.ts";

// Of a stream that holds a match, not one character of the match is released, in whatever pieces the
// model writes it and the bytes come; and a clean stream comes through byte for byte.

const NAMES = ["openai-responses", "gemini"] as const;

const piece = fc.constantFrom("S-", "S-12", "34", "56", "S-123456", "clean ", "wörld 😀", "-", "9");

describe.each(NAMES)("a stream of %s", (name) => {
  const { count: numRuns, seed } = proofCount(`hold-back ${name}`, { small: 120, full: 20_000 });

  test("releases nothing of a match, however it is cut", () => {
    const streams = fc.property(
      fc.array(piece, { minLength: 1, maxLength: 10 }),
      fc.array(fc.nat(), { maxLength: 6 }),
      (pieces, places) => {
        const bytes = Buffer.from(streamOf(name, pieces));
        const { exchange, outcomes } = relayed(name, bytes, places);
        const match = SECRET.exec(pieces.join(""));
        if (match === null) {
          expect(exchange.written).toBe(bytes.toString());
          expect(exchange.ended).toBe(true);
          return;
        }
        expect(outcomes).toMatchObject([{ kind: "cut", reason: "content_cut" }]);
        expect(exchange.ended).toBe(false);
        expect(exchange.lastFrame ?? exchange.answered?.body.toString()).toContain("content_cut");
        const read = deltasOf(exchange.written);
        expect(pieces.join("").slice(0, match.index).startsWith(read)).toBe(true);
        expect(exchange.written).not.toMatch(SECRET);
      },
    );
    fc.assert(streams, { numRuns, seed });
  });

  test("that breaks off before its end is cut", () => {
    const bytes = Buffer.from(streamOf(name, ["one ", "two"]));
    const half = bytes.subarray(0, bytes.indexOf("\n\n", bytes.indexOf("two")) + 2);
    const { exchange, outcomes } = relayed(name, half, []);
    expect(outcomes).toMatchObject([{ kind: "upstream_failed" }]);
    expect(exchange.ended).toBe(false);
  });
});

function relayed(name: (typeof NAMES)[number], bytes: Buffer, places: readonly number[]) {
  const one = relay(name);
  const edges = [0, ...places.map((at) => at % bytes.length).sort((a, b) => a - b)];
  one.sink.onHead(200, EVENT_STREAM);
  for (const [i, from] of edges.entries()) one.sink.onData(bytes.subarray(from, edges[i + 1]));
  one.sink.onEnd();
  return one;
}

/** What a client joins of the pieces that it got. */
function deltasOf(written: string): string {
  let text = "";
  for (const line of written.split("\n").filter((one) => one.startsWith("data: "))) {
    const { type, delta, candidates } = JSON.parse(line.slice("data: ".length));
    if (type === "response.output_text.delta") text += delta;
    text += candidates?.[0]?.content.parts[0]?.text ?? "";
  }
  return text;
}
