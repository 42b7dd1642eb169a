import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SecretMatch, SecretPattern } from "../../../../node/dataplane/secret-match.ts";
import { proofCount } from "../../../support/proof.ts";
import {
  contentOf,
  dataFrame,
  EVENT_STREAM,
  namedFrame,
  type Relayed,
  relay,
  streamOf,
} from "./relay-fixture.ts";

// The credential that a request went with is not passed on by a stream that says it piece by piece.

const NAMES = ["openai", "anthropic"] as const;
const KEY = "sk-sk-provider/sk-sk-0001";

function run(relayed: Relayed, frames: readonly string[]): Relayed {
  relayed.sink.onHead(200, EVENT_STREAM);
  for (const frame of frames) relayed.sink.onData(Buffer.from(frame));
  relayed.sink.onEnd();
  return relayed;
}

describe.each(NAMES)("a stream of %s", (name) => {
  const said = (texts: readonly string[]) =>
    run(relay(name, { secret: KEY }), streamOf(name, texts));

  test.each([
    ["in one piece", ["You", " sent", " me: ", `Bearer ${KEY}`, " and", " more"], "You sent me: "],
    ["in two", ["You sent ", KEY.slice(0, 9), KEY.slice(9), " more"], "You sent "],
    // Of three characters, which many keys begin with, nobody learns anything.
    ["a character at a time", ["You sent ", ...KEY], "You sent sk-"],
    ["after a beginning of it", ["sk-sk-", KEY.slice(0, 9), KEY.slice(9)], "sk-sk-"],
  ])(
    "is cut where it shows the credential, before its first character: %s",
    (_how, texts, read) => {
      const { exchange, outcomes, upstream } = said(texts);
      expect(outcomes).toMatchObject([{ kind: "cut", reason: "credential_in_response" }]);
      expect(exchange.lastFrame).toContain("credential_in_response");
      expect(upstream.aborted).toBe(true);
      expect(contentOf(name, exchange.written)).toBe(read);
    },
  );

  test("waits while the credential may be beginning, and goes on when it was none", () => {
    const texts = ["one ", KEY.slice(0, 9), "x", " two"];
    const frames = streamOf(name, texts);
    const first = frames.findIndex((frame) => frame.includes(KEY.slice(0, 9)));
    const relayed = relay(name, { secret: KEY });
    relayed.sink.onHead(200, EVENT_STREAM);
    for (const frame of frames.slice(0, first + 1)) relayed.sink.onData(Buffer.from(frame));
    expect(contentOf(name, relayed.exchange.written)).toBe("one ");
    relayed.sink.onData(Buffer.from(frames[first + 1] as string));
    expect(contentOf(name, relayed.exchange.written)).toBe(`one ${KEY.slice(0, 9)}x`);
  });

  test("that ends in a beginning of it passes whole", () => {
    const { exchange, outcomes } = said(["one ", KEY.slice(0, -1)]);
    expect(contentOf(name, exchange.written)).toBe(`one ${KEY.slice(0, -1)}`);
    expect(outcomes).toMatchObject([{ kind: "done" }]);
  });

  test("is not delayed by words that end as its first characters do", () => {
    const relayed = relay(name, { secret: KEY });
    relayed.sink.onHead(200, EVENT_STREAM);
    for (const frame of streamOf(name, ["ask", "a task", "risk-"]).slice(0, -4)) {
      relayed.sink.onData(Buffer.from(frame));
      expect(relayed.exchange.written.endsWith(frame)).toBe(true);
    }
  });
});

test("the arguments of a call show it too, also escaped, across the pieces", () => {
  const call = (called: object) =>
    dataFrame({ choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: called }] } }] });
  const frames = [
    call({ name: "send", arguments: `{"key":"${KEY.slice(0, 8)}` }),
    call({ arguments: `${KEY.slice(8, 12)}\\u00` }),
    call({ arguments: `${KEY.charCodeAt(12).toString(16)}${KEY.slice(13)}"}` }),
  ];
  const { exchange, outcomes } = run(relay("openai", { secret: KEY }), frames);
  expect(outcomes).toMatchObject([{ reason: "credential_in_response" }]);
  expect(exchange.written).toBe("");
});

test.each([
  ["openai", dataFrame({ id: "KEY", choices: [] })],
  ["anthropic", namedFrame({ type: "ping", id: "KEY" })],
] as const)("what names things in a stream of %s does not show it either", (name, frame) => {
  for (const spelled of [KEY, KEY.replace("/", "\\/"), KEY.replace("-", "\\u002D")]) {
    const { exchange, outcomes } = run(relay(name, { secret: KEY }), [
      frame.replace("KEY", spelled),
    ]);
    expect(outcomes).toMatchObject([{ reason: "credential_in_response" }]);
    expect(exchange.written).toBe("");
  }
});

test("property: a secret is found wherever it is, and what may begin it is told, however the text is cut", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b"), minLength: 4, maxLength: 9 });
  const { count, seed } = proofCount("secret match", { small: 500, full: 50_000 });
  fc.assert(
    fc.property(letters, fc.array(letters, { maxLength: 5 }), (secret, pieces) => {
      const match = new SecretMatch(new SecretPattern(secret));
      let text = "";
      for (const piece of pieces) {
        text += piece;
        match.push(Buffer.from(piece));
        expect(match.isFound).toBe(text.includes(secret));
        const begun = [...secret].findLastIndex((_, at) => text.endsWith(secret.slice(0, at + 1)));
        expect(match.begunBytes).toBe(begun + 1 < 4 ? 0 : begun + 1);
      }
    }),
    { numRuns: count, seed },
  );
});
