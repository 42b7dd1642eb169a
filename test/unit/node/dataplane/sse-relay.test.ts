import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { proofCount } from "../../../support/proof.ts";
import type { Relayed } from "./relay-fixture.ts";
import {
  answerRules,
  contentOf,
  contentRule,
  dataFrame,
  EVENT_STREAM,
  namedFrame,
  relay,
  SECRET,
  streamOf,
  withoutUsage,
} from "./relay-fixture.ts";

const PROOF_TIMEOUT_MS = 240_000;

const NAMES = ["openai", "anthropic"] as const;

function feed(relayed: Relayed, bytes: string | Uint8Array): boolean {
  return relayed.sink.onData(Buffer.from(bytes));
}

function run(relayed: Relayed, chunks: readonly (string | Uint8Array)[]): Relayed {
  relayed.sink.onHead(200, EVENT_STREAM);
  for (const chunk of chunks) feed(relayed, chunk);
  relayed.sink.onEnd();
  return relayed;
}

function delta(content: object, index = 0): string {
  return dataFrame({ id: "c", choices: [{ index, delta: content, finish_reason: null }] });
}

/** A cut in a dialect: what its SDK takes for an error, and nothing that it takes for an end. */
function expectCut({ exchange, outcomes, upstream }: Relayed, reason: string): void {
  expect(outcomes).toMatchObject([{ kind: expect.stringMatching(/cut|failed/), reason }]);
  expect(upstream.aborted).toBe(true);
  expect(exchange.ended).toBe(false);
  expect(exchange.lastFrame ?? exchange.answered?.body.toString()).toContain(reason);
}

describe.each(NAMES)("a stream of %s", (name) => {
  const texts = ["Hello", ", wörld 😀", ' "quoted"\n', "warn-7", "end"];
  const frames = streamOf(name, texts);
  const passed = name === "openai" ? withoutUsage(frames) : frames.join("");

  test("passes byte-identical, without the usage frame that only we asked for", () => {
    const { exchange, outcomes, upstream } = run(relay(name), frames);
    expect(exchange.written).toBe(passed);
    expect(exchange.ended).toBe(true);
    expect(exchange.streaming).toBe(true);
    expect(upstream.aborted).toBe(false);
    expect(outcomes).toEqual([
      {
        kind: "done",
        reason: undefined,
        rule: undefined,
        status: 200,
        sent: true,
        usage: { inputTokens: 9, cachedInputTokens: 0, cacheWriteTokens: 0, outputTokens: 5 },
        outputTextBytes: Buffer.byteLength(texts.join("")),
        scannedBytes: expect.any(Number),
        hits: [{ ruleId: "warned", end: expect.any(Number) }],
      },
    ]);
  });

  test("passes the usage frame that the client asked for", () => {
    const { exchange } = run(relay(name, { wantsUsage: true }), frames);
    expect(exchange.written).toBe(frames.join(""));
  });

  test("begins with our headers and those of the provider that may be passed on", () => {
    const { exchange } = run(relay(name), frames);
    expect(exchange.begun).toEqual({
      status: 200,
      headers: [
        ...["x-altrace-decision", "allow"],
        ...["content-type", "text/event-stream; charset=utf-8"],
        ...["cache-control", "no-cache"],
      ],
    });
  });

  test("is the same at every place where its bytes may be split", () => {
    const bytes = Buffer.from(frames.join(""));
    for (let at = 0; at <= bytes.length; at++) {
      const { exchange } = run(relay(name), [bytes.subarray(0, at), bytes.subarray(at)]);
      expect(exchange.written, `split at ${at}`).toBe(passed);
    }
  });

  test("is the same byte by byte, and with each kind of line end", () => {
    for (const end of ["\n", "\r\n", "\r"]) {
      const all = Buffer.from(frames.join("").replaceAll("\n", end));
      const single = Array.from(all, (byte) => Uint8Array.of(byte));
      const { exchange } = run(relay(name), single);
      expect(exchange.written).toBe(passed.replaceAll("\n", end));
    }
  });

  test("is not delayed while its text is clean", () => {
    const relayed = relay(name);
    relayed.sink.onHead(200, EVENT_STREAM);
    let sent = "";
    for (const frame of streamOf(name, ["a", "b", "c"]).slice(0, -2)) {
      feed(relayed, frame);
      sent += frame;
      if (!frame.includes('"usage":{"prompt')) expect(relayed.exchange.written).toBe(sent);
    }
  });

  test("waits while a match may be beginning, and goes on when it was none", () => {
    const relayed = relay(name);
    relayed.sink.onHead(200, EVENT_STREAM);
    const all = streamOf(name, ["abc S", "-12345", "x and on"]);
    const first = all.findIndex((frame) => frame.includes("abc S"));
    for (const frame of all.slice(0, first + 2)) feed(relayed, frame);
    expect(relayed.exchange.written).toBe(all.slice(0, first).join(""));
    feed(relayed, all[first + 2] as string);
    expect(relayed.exchange.written).toBe(all.slice(0, first + 3).join(""));
  });

  test("is cut at a match, of which not one byte was written", () => {
    const relayed = run(relay(name), streamOf(name, ["clean ", "S-1", "234", "56", " more"]));
    expectCut(relayed, "content_cut");
    expect(relayed.outcomes).toMatchObject([{ kind: "cut", rule: "secret", status: 200 }]);
    expect(contentOf(name, relayed.exchange.written)).toBe("clean ");
  });

  test("is cut at a match that only its end completes", () => {
    const rules = answerRules([contentRule({ pattern: "end$" })]);
    const relayed = run(relay(name, { rules }), streamOf(name, ["the ", "en", "d"]));
    expectCut(relayed, "content_cut");
    expect(contentOf(name, relayed.exchange.written)).toBe("the ");
  });

  test(
    "never writes a byte of a match, however text and bytes are split",
    () => {
      const piece = fc.oneof(
        fc.constantFrom("S", "S-", "S-12", "345678", "S-1234567", "clean ", "é", "S-12345", "-"),
        fc.string({ unit: "grapheme", maxLength: 4 }),
      );
      const cuts = fc.array(fc.nat(3_000), { maxLength: 8 });
      const { count, seed } = proofCount(`hold-back ${name}`, { small: 120, full: 20_000 });
      fc.assert(
        fc.property(fc.array(piece, { minLength: 1, maxLength: 12 }), cuts, (pieces, places) => {
          const text = pieces.join("");
          const match = SECRET.exec(text);
          const bytes = Buffer.from(streamOf(name, pieces).join(""));
          const edges = [0, ...places.map((at) => at % bytes.length).sort((a, b) => a - b)];
          const chunks = edges.map((from, index) => bytes.subarray(from, edges[index + 1]));
          const relayed = run(relay(name), chunks);
          const read = contentOf(name, relayed.exchange.written);
          if (match === null) {
            expect(read).toBe(text);
            expect(relayed.exchange.ended).toBe(true);
          } else {
            expectCut(relayed, "content_cut");
            expect(read).toBe(releasable(pieces, match));
          }
        }),
        { numRuns: count, seed },
      );
    },
    PROOF_TIMEOUT_MS,
  );

  test("that ends without its dialect's end is cut, so that nobody takes it for one", () => {
    const frames = streamOf(name, ["half"]).slice(0, -1);
    const relayed = run(relay(name), frames);
    expectCut(relayed, "upstream_failed");
    expect(relayed.outcomes).toMatchObject([{ kind: "upstream_failed" }]);
  });

  test("that breaks off is cut", () => {
    const relayed = relay(name);
    relayed.sink.onHead(200, EVENT_STREAM);
    for (const frame of streamOf(name, ["half"]).slice(0, 4)) feed(relayed, frame);
    relayed.sink.onError("upstream_failed", true);
    expectCut(relayed, "upstream_failed");
  });

  test("that ends in a frame without its empty line is whole all the same", () => {
    const all = streamOf(name, ["x"]).join("").slice(0, -1);
    const { exchange, outcomes } = run(relay(name), [all]);
    expect(outcomes).toMatchObject([{ kind: "done" }]);
    expect(contentOf(name, exchange.written)).toBe("x");
  });

  test("is cut when its cost reaches the hold, before the frame that does", () => {
    let bytes = 0;
    const meter = {
      onText: (more: number) => {
        bytes += more;
      },
      onUsage: () => {},
      spent: () => bytes > 6,
    };
    const relayed = run(relay(name, { meter }), streamOf(name, ["abc", "def", "g", "h"]));
    expectCut(relayed, "hold_spent");
    expect(contentOf(name, relayed.exchange.written)).toBe("abcdef");
    expect(relayed.outcomes).toMatchObject([{ kind: "cut", outputTextBytes: 7 }]);
  });

  test("is cut by a kill, in its dialect", () => {
    const relayed = relay(name);
    relayed.sink.onHead(200, EVENT_STREAM);
    for (const frame of streamOf(name, ["x"]).slice(0, 4)) feed(relayed, frame);
    relayed.exchange.cutFromOutside({ by: "team" });
    expectCut(relayed, "killed_team");
    expect(relayed.sink.onData(Buffer.from("data: more\n\n"))).toBe(true);
    relayed.sink.onEnd();
    expect(relayed.outcomes).toHaveLength(1);
  });

  test("is cut by a kill that the cells show, before word of it comes", () => {
    let killed = false;
    const killedNow = () => (killed ? ("killed_global" as const) : undefined);
    const relayed = relay(name, { killedNow });
    relayed.sink.onHead(200, EVENT_STREAM);
    const [first, second] = streamOf(name, ["x"]) as [string, string];
    feed(relayed, first);
    killed = true;
    feed(relayed, second);
    expectCut(relayed, "killed_global");
    expect(relayed.exchange.written).toBe(first);
  });

  test("that ends after a kill releases nothing that waited for its end", () => {
    let killed = false;
    const killedNow = () => (killed ? ("killed_agent" as const) : undefined);
    const relayed = relay(name, { killedNow });
    relayed.sink.onHead(200, EVENT_STREAM);
    const whole = streamOf(name, ["S-1234"]).join("");
    // An end of the stream is that of its last frame, too.
    feed(relayed, whole.slice(0, -2));
    const { written } = relayed.exchange;
    killed = true;
    relayed.sink.onEnd();
    expectCut(relayed, "killed_agent");
    expect(relayed.exchange.written).toBe(written);
  });

  test("whose client is gone is aborted, and says so once", () => {
    const relayed = relay(name);
    relayed.sink.onHead(200, EVENT_STREAM);
    feed(relayed, streamOf(name, ["x"])[0] as string);
    relayed.exchange.leave();
    relayed.sink.onError("upstream_failed", true);
    expect(relayed.upstream.aborted).toBe(true);
    expect(relayed.outcomes).toMatchObject([{ kind: "client_gone", reason: "client_gone" }]);
  });

  test("whose client was ended by the kernel's kill is settled as killed", () => {
    const relayed = relay(name, { killedNow: () => "killed_agent" });
    relayed.sink.onHead(200, EVENT_STREAM);
    relayed.exchange.leave();
    expect(relayed.outcomes).toMatchObject([{ kind: "cut", reason: "killed_agent" }]);
  });

  test("is whole once its dialect's end has come, however its connection ends", () => {
    const relayed = relay(name);
    relayed.sink.onHead(200, EVENT_STREAM);
    for (const frame of frames) feed(relayed, frame);
    expect(relayed.exchange.written).toBe(passed);
    relayed.sink.onError("upstream_timeout", true);
    expect(relayed.exchange.ended).toBe(true);
    expect(relayed.outcomes).toMatchObject([{ kind: "done", reason: undefined }]);
  });

  test("asks for a pause when its client does, and goes on when it drains", () => {
    const relayed = relay(name);
    relayed.sink.onHead(200, EVENT_STREAM);
    relayed.exchange.writable = false;
    const [first, second] = streamOf(name, []) as [string, string];
    expect(feed(relayed, first)).toBe(false);
    relayed.exchange.drain();
    expect(relayed.upstream.resumed).toBe(1);
    expect(feed(relayed, second)).toBe(true);
  });
});

describe("a tool that is not granted", () => {
  test("ends a stream of openai before its arguments, whatever came with its name", () => {
    const call = { index: 0, id: "i", function: { name: "forbidden", arguments: '{"rm":1}' } };
    const frames = [delta({ content: "I will " }), delta({ tool_calls: [call] })];
    const relayed = run(relay("openai"), frames);
    expectCut(relayed, "tool_call_not_granted");
    expect(relayed.outcomes).toMatchObject([{ rule: "forbidden" }]);
    expect(relayed.exchange.written).toBe(frames[0]);
  });

  test("whose name comes in pieces is not named before the whole of it", () => {
    const call = (called: object) => delta({ tool_calls: [{ index: 0, function: called }] });
    const frames = [call({ name: "for" }), call({ name: "bidden" }), call({ arguments: "{" })];
    const relayed = run(relay("openai"), frames);
    expectCut(relayed, "tool_call_not_granted");
    expect(relayed.exchange.written).not.toContain("arguments");
  });

  test("ends a stream of anthropic at the beginning of its block", () => {
    const block = { type: "tool_use", id: "i", name: "forbidden", input: {} };
    const start = namedFrame({
      type: "content_block_start",
      index: 1,
      content_block: block,
    });
    const relayed = run(relay("anthropic"), [...streamOf("anthropic", ["x"]).slice(0, 5), start]);
    expectCut(relayed, "tool_call_not_granted");
    expect(relayed.exchange.written).not.toContain("forbidden");
  });

  test("is one of several choices all the same", () => {
    const call = { index: 0, function: { name: "forbidden", arguments: "" } };
    const relayed = run(relay("openai"), [delta({ tool_calls: [call] }, 2)]);
    expectCut(relayed, "tool_call_not_granted");
    // Nothing had been written, so the client gets a refusal with a status of its own.
    expect(relayed.exchange.answered?.status).toBe(403);
    expect(relayed.outcomes).toMatchObject([{ status: 403 }]);
  });
});

test("the name of a tool is scanned, in pieces too, before anybody is told of it", () => {
  const call = (name: string) => delta({ tool_calls: [{ index: 0, function: { name } }] });
  const pieces = run(relay("openai"), [call("S-12"), call("3456")]);
  expectCut(pieces, "content_cut");
  expect(pieces.exchange.written).toBe("");
  const block = { type: "tool_use", id: "i", name: "S-123456", input: {} };
  const start = namedFrame({ type: "content_block_start", index: 0, content_block: block });
  const granted = run(relay("anthropic", { toolGranted: () => true }), [start]);
  const refused = run(relay("anthropic", { toolGranted: () => false }), [start]);
  for (const one of [granted, refused]) {
    expect(one.outcomes).toMatchObject([{ reason: "content_cut", rule: "secret" }]);
  }
});

test("the name of a tool holds up none of its arguments", () => {
  const call = (called: object) => delta({ tool_calls: [{ index: 0, function: called }] });
  const openai = [call({ name: "ends-in-S", arguments: "" }), call({ arguments: "{" })];
  const block = { type: "tool_use", id: "i", name: "ends-in-S", input: {} };
  const input = { type: "input_json_delta", partial_json: "{" };
  const anthropic = [
    namedFrame({ type: "content_block_start", index: 0, content_block: block }),
    namedFrame({ type: "content_block_delta", index: 0, delta: input }),
  ];
  for (const [name, frames] of [
    ["openai", [...openai, call({ name: "ends-in-S", arguments: "}" })]],
    ["anthropic", anthropic],
  ] as const) {
    const relayed = relay(name);
    relayed.sink.onHead(200, EVENT_STREAM);
    feed(relayed, frames[0] as string);
    expect(relayed.exchange.written).toBe("");
    for (const frame of frames.slice(1)) feed(relayed, frame);
    expect(relayed.exchange.written).toBe(frames.join(""));
  }
});

describe("texts side by side", () => {
  test("are scanned each on its own, so that another's pieces hide no match", () => {
    const frames = [
      delta({ content: "S-12" }, 0),
      delta({ content: "noise" }, 1),
      delta({ content: "3456" }, 0),
    ];
    const relayed = run(relay("openai"), frames);
    expectCut(relayed, "content_cut");
    expect(relayed.exchange.written).toBe("");
  });

  test("do not make a match together", () => {
    const frames = [
      delta({ content: "S-12" }, 0),
      delta({ content: "3456" }, 1),
      "data: [DONE]\n\n",
    ];
    const { exchange } = run(relay("openai"), frames);
    expect(exchange.written).toBe(frames.join(""));
  });

  test("are scanned in tool arguments, thoughts and refusals", () => {
    for (const [one, two] of [
      [{ reasoning_content: "S-12" }, { reasoning_content: "3456" }],
      [{ refusal: "S-12" }, { refusal: "3456" }],
      [
        { tool_calls: [{ index: 0, function: { name: "t", arguments: "S-12" } }] },
        { tool_calls: [{ index: 0, function: { arguments: "3456" } }] },
      ],
    ] as const) {
      const relayed = run(relay("openai"), [delta(one), delta(two)]);
      expectCut(relayed, "content_cut");
      expect(relayed.exchange.written).toBe("");
    }
  });

  test("end when the model goes on to the next kind, and so hold up nothing", () => {
    const call = (called: object) => delta({ tool_calls: [{ index: 0, function: called }] });
    const before = delta({ content: "ends like a match: S-123" });
    const after = call({ name: "t", arguments: "{" });
    const relayed = relay("openai");
    relayed.sink.onHead(200, EVENT_STREAM);
    feed(relayed, before);
    expect(relayed.exchange.written).toBe("");
    feed(relayed, after);
    expect(relayed.exchange.written).toBe(before + after);
    feed(relayed, delta({ content: "456" }));
    expectCut(relayed, "response_unscannable");
  });

  test("go on after another kind when nothing of them was pending", () => {
    const frames = [
      delta({ content: "clean." }),
      delta({ reasoning: "hm." }),
      delta({ content: "more." }),
      "data: [DONE]\n\n",
    ];
    expect(run(relay("openai"), frames).exchange.written).toBe(frames.join(""));
  });

  test("end with their choice or block", () => {
    const done = dataFrame({ choices: [{ index: 0, delta: {}, finish_reason: "length" }] });
    const openai = [delta({ content: "S-12" }), done];
    const relayed = relay("openai");
    relayed.sink.onHead(200, EVENT_STREAM);
    for (const frame of openai) feed(relayed, frame);
    expect(relayed.exchange.written).toBe(openai.join(""));
    feed(relayed, delta({ content: "3456" }));
    expectCut(relayed, "response_unscannable");
  });

  test("are so many at most", () => {
    const relayed = relay("openai");
    relayed.sink.onHead(200, EVENT_STREAM);
    for (let index = 0; index < 1_024; index++) feed(relayed, delta({ content: "x" }, index));
    expect(relayed.outcomes).toEqual([]);
    feed(relayed, delta({ content: "x" }, 1_024));
    expectCut(relayed, "response_unscannable");
  });
});

test("an integer of which only its bytes have every digit is scanned by them", () => {
  const rules = answerRules([contentRule({ pattern: "110101199003074514" })]);
  const [first = ""] = streamOf("openai", []);
  const frame = dataFrame(JSON.parse('{"choices":[],"extra":[0]}')).replace(
    "[0]",
    "[110101199003074514]",
  );
  const relayed = run(relay("openai", { rules }), [first, frame]);
  expectCut(relayed, "content_cut");
  expect(relayed.exchange.written).not.toContain("110101199003074514");
});

test("an event that shows the credential that its request went with is not passed on", () => {
  const message = { jsonrpc: "2.0", method: "notifications/message", params: { data: "hello" } };
  const telling = {
    jsonrpc: "2.0",
    id: 1,
    result: { content: [{ type: "text", text: "provider-key" }] },
  };
  const frames = [dataFrame(message), dataFrame(telling)];
  const relayed = run(relay("mcp", { secret: "provider-key" }), frames);
  expectCut(relayed, "credential_in_response");
  expect(relayed.exchange.written).toBe(frames[0]);
});

describe("what no client shows", () => {
  test.each([
    [": S-123456\n\n"],
    ["id: S-123456\n\n"],
    ['unknown: S-123456\ndata: {"choices":[]}\n\n'],
    ["event: S-123456\n\n"],
    ["event: S-123456\ndata: [DONE]\n\n"],
    [dataFrame({ choices: [], extra: { "S-123456": 1 } })],
    [dataFrame({ choices: [{ index: 0, delta: {}, logprobs: [{ token: "S-123456" }] }] })],
  ])("is scanned too: %j", (frame) => {
    const relayed = run(relay("openai"), [frame]);
    expectCut(relayed, "content_cut");
    expect(relayed.exchange.written).toBe("");
  });

  test("passes when it is clean", () => {
    const frames = [
      ": keep-alive\n\n",
      "retry: 100\n\n",
      "\n",
      delta({ content: "x" }),
      "data: [DONE]\n\n",
    ];
    expect(run(relay("openai"), frames).exchange.written).toBe(frames.join(""));
  });
});

describe("a stream that cannot be read", () => {
  test.each([
    ["data: not json\n\n"],
    ["data: {}\n\n"],
    ['data: {"choices":[],"choices":[]}\n\n'],
    ["data:\n\n"],
    [`data: ${"x".repeat(1_100_000)}`],
  ])("is cut: %.30s", (bytes) => {
    const first = delta({ content: "x" });
    const relayed = run(relay("openai"), [first, bytes]);
    expectCut(relayed, "response_unscannable");
    expect(relayed.exchange.written).toBe(first);
  });

  test("is cut when it is not UTF-8", () => {
    const first = delta({ content: "x" });
    const relayed = run(relay("openai"), [first, Buffer.of(0x64, 0xff, 0x0a, 0x0a)]);
    expectCut(relayed, "response_unscannable");
    expect(relayed.exchange.written).toBe(first);
  });

  test("is cut where the provider says that it failed", () => {
    const relayed = run(relay("openai"), [delta({ content: "x" }), 'data: {"error":{}}\n\n']);
    expectCut(relayed, "upstream_failed");
    const event = 'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n';
    expectCut(
      run(relay("anthropic"), [...streamOf("anthropic", []).slice(0, 2), event]),
      "upstream_failed",
    );
  });

  test("is cut when more waits than may be kept", () => {
    const relayed = relay("openai");
    relayed.sink.onHead(200, EVENT_STREAM);
    feed(relayed, delta({ content: "S-" }));
    const idle = dataFrame({ choices: [], id: "x".repeat(500_000) });
    for (let count = 0; count < 4; count++) feed(relayed, idle);
    expect(relayed.outcomes).toEqual([]);
    feed(relayed, idle);
    expectCut(relayed, "response_unscannable");
    expect(relayed.exchange.written).toBe("");
  });
});

test("what waited and was passed on counts no more", () => {
  const relayed = relay("openai");
  relayed.sink.onHead(200, EVENT_STREAM);
  const idle = dataFrame({ choices: [], id: "x".repeat(900_000) });
  for (let round = 0; round < 4; round++) {
    for (const frame of [delta({ content: "S-" }), idle, delta({ content: "clean" })]) {
      feed(relayed, frame);
    }
  }
  expect(relayed.outcomes).toEqual([]);
  expect(relayed.exchange.written.length).toBeGreaterThan(3_600_000);
});

test("what comes after a dialect's own end is not passed on", () => {
  const frames = streamOf("openai", ["x"]);
  const relayed = run(relay("openai"), [`${frames.join("")}data: S-123456\n\n`, "more"]);
  expect(relayed.exchange.written).toBe(withoutUsage(frames));
  expect(relayed.outcomes).toMatchObject([{ kind: "done" }]);
});

test("a rule that only warns holds nothing back and ends nothing", () => {
  const relayed = relay("openai");
  relayed.sink.onHead(200, EVENT_STREAM);
  const frame = delta({ content: "warn-" });
  feed(relayed, frame);
  expect(relayed.exchange.written).toBe(frame);
});

/**
 * The whole pieces that are written before a match is complete: those that were clear, after some
 * piece, of everything that could still have become a match.
 */
function releasable(pieces: readonly string[], match: RegExpExecArray): string {
  let text = "";
  let read = "";
  for (const piece of pieces) {
    text += piece;
    if (text.length >= match.index + match[0].length) return read;
    const clear = text.length - (/S(?:-[0-9]{0,5})?$/.exec(text)?.[0].length ?? 0);
    let whole = "";
    for (const one of pieces) {
      if (whole.length + one.length > clear) break;
      whole += one;
    }
    if (whole.length > read.length) read = whole;
  }
  return read;
}
