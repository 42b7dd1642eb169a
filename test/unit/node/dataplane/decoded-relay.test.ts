import { hash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { RelayInput } from "../../../../node/dataplane/client-leg.ts";
import { DECODE_LIMITS } from "../../../../node/dataplane/decode-limits.ts";
import { waitUntil } from "../../../support/wait-until.ts";
import { EVENT_STREAM, type Relayed, relay, streamOf, withoutUsage } from "./relay-fixture.ts";

// What is relayed of a compressed answer is what would be relayed of the same answer uncompressed.

const CODINGS = [
  ["gzip", gzipSync],
  ["br", brotliCompressSync],
  ["zstd", zstdCompressSync],
] as const;

const JSON_TYPE = ["content-type", "application/json"];
const UNSCANNABLE = [{ kind: "cut", reason: "response_unscannable" }];

const saying = (content: string): string =>
  JSON.stringify({
    id: "c",
    choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }],
    usage: { prompt_tokens: 3, completion_tokens: 2 },
  });

/** Sends the bytes as a provider that says when it is asked to wait, and waits for the outcome. */
async function answered(
  relayed: Relayed,
  of: {
    readonly coding: string;
    readonly bytes: Uint8Array;
    readonly status?: number;
    readonly chunkBytes?: number;
  },
): Promise<Relayed> {
  const { coding, bytes, status = 200, chunkBytes = bytes.length } = of;
  const { sink, outcomes } = relayed;
  const type = relayed.exchange.streaming ? EVENT_STREAM : JSON_TYPE;
  sink.onHead(status, [...type, "content-encoding", coding]);
  for (let from = 0; from < bytes.length; from += chunkBytes) {
    sink.onData(bytes.subarray(from, from + chunkBytes));
    await nextTurn();
  }
  sink.onEnd();
  await waitUntil("the answer to end", () => outcomes.length > 0);
  return relayed;
}

const document = (over: Partial<RelayInput> = {}) => relay("openai", { stream: false, ...over });

function stream(over: Partial<RelayInput> = {}): Relayed {
  const relayed = relay("openai", over);
  relayed.exchange.markStreaming();
  return relayed;
}

describe.each(CODINGS)("an answer in %s", (coding, compress) => {
  test("is sent on as what it says, with its usage counted", async () => {
    const body = saying("hé");
    const bytes = compress(body);
    for (const chunkBytes of [1, bytes.length]) {
      const { exchange, outcomes } = await answered(document(), { coding, bytes, chunkBytes });
      expect(exchange.answered?.body.toString()).toBe(body);
      expect(exchange.answered?.headers).not.toContain("content-encoding");
      expect(outcomes).toMatchObject([{ kind: "done", usage: { outputTokens: 2 } }]);
    }
  });

  test("is refused for what it says", async () => {
    const bytes = compress(saying("it is S-123456."));
    const { exchange, outcomes } = await answered(document(), { coding, bytes });
    expect(exchange.answered?.status).toBe(403);
    expect(outcomes).toMatchObject([{ reason: "content_cut", rule: "secret" }]);
  });

  test("streams frame by frame, and is cut before a match", async () => {
    const clean = streamOf("openai", ["one ", "two "]);
    const bytes = compress(clean.join(""));
    const whole = await answered(stream(), { coding, bytes, chunkBytes: 5 });
    expect(whole.exchange.written).toBe(withoutUsage(clean));
    expect(whole.outcomes).toMatchObject([{ kind: "done" }]);

    const dirty = streamOf("openai", ["one ", "S-12", "3456"]);
    const cut = await answered(stream(), { coding, bytes: compress(dirty.join("")) });
    expect(cut.exchange.written).toBe(dirty.slice(0, 2).join(""));
    expect(cut.outcomes).toMatchObject([{ reason: "content_cut" }]);
  });

  test("that becomes more than the ratio allows is refused before it is all decompressed", async () => {
    // An answer like any other but for that.
    const bytes = compress(saying(" ".repeat(4 * 1024 * 1024)));
    const { exchange, outcomes } = await answered(document({ answerBytesMax: 2 ** 26 }), {
      coding,
      bytes,
      chunkBytes: 1_000,
    });
    expect(outcomes).toMatchObject(UNSCANNABLE);
    expect(exchange.answered?.status).toBe(502);
    // Up to the free size a short answer may be nothing but repetition.
    const short = saying(" ".repeat(DECODE_LIMITS.freeBytes - 500));
    const passed = await answered(document(), { coding, bytes: compress(short) });
    expect(passed.outcomes).toMatchObject([{ kind: "done" }]);
  });

  test("that is longer than may be kept is refused", async () => {
    const long = saying(Array.from({ length: 9_999 }, (_, at) => at * at).join());
    const relayed = document({ answerBytesMax: 40_000 });
    await answered(relayed, { coding, bytes: compress(long) });
    expect(relayed.outcomes).toMatchObject([{ reason: "response_too_large" }]);
  });

  test.each([
    ["whose end is missing", (whole: Buffer) => whole.subarray(0, -4)],
    ["with something behind its end", (whole: Buffer) => Buffer.concat([whole, Buffer.from("xx")])],
    ["that is another", (_whole: Buffer) => Buffer.from(saying("plain"))],
    ["that is nothing", (_whole: Buffer) => Buffer.alloc(0)],
  ])("%s is refused", async (_what, change) => {
    for (const chunkBytes of [1, 100_000]) {
      const bytes = change(compress(saying("x")));
      const { exchange, outcomes } = await answered(document(), { coding, bytes, chunkBytes });
      expect(outcomes).toMatchObject(UNSCANNABLE);
      expect(exchange.answered?.status).toBe(502);
    }
  });

  test("keeps an error's status and its words, or its status alone", async () => {
    const error = JSON.stringify({ error: { message: "not with provider-key" } });
    const told = async (bytes: Buffer): Promise<string> => {
      const relayed = await answered(document(), { coding, bytes, status: 429 });
      expect(relayed.exchange.answered?.status).toBe(429);
      return relayed.exchange.answered?.body.toString() ?? "";
    };
    expect(await told(compress(error))).toContain("not with [redacted]");
    expect(await told(compress(error).subarray(0, -4))).toContain("status 429");
  });
});

test("the provider waits for the decoder, and the decoder for the client", async () => {
  const { exchange, sink, upstream, outcomes } = stream();
  // What nobody can compress to much less than it is.
  const noise = (at: number) => hash("sha256", String(at), "base64url");
  const frames = streamOf(
    "openai",
    Array.from({ length: 4_000 }, (_, at) => noise(at)),
  );
  const bytes = gzipSync(frames.join(""));
  exchange.writable = false;
  sink.onHead(200, [...EVENT_STREAM, "content-encoding", "gzip"]);
  expect(sink.onData(bytes)).toBe(false);
  await waitUntil("a first part to be written", () => exchange.writes > 0);
  for (let turn = 0; turn < 20; turn++) await nextTurn();
  // A client that takes nothing stops the decoder, and that the provider.
  const written = exchange.written.length;
  expect(written).toBeLessThan(4 * DECODE_LIMITS.stepBytes);
  expect(upstream.resumed).toBe(0);
  exchange.drain();
  await waitUntil("the provider to be let go on", () => upstream.resumed > 0);
  sink.onEnd();
  await waitUntil("the answer to end", () => outcomes.length > 0);
  expect(exchange.written).toBe(withoutUsage(frames));
});

test("a kill ends it while the decoder is at work, and nothing follows", async () => {
  const { exchange, sink, outcomes, upstream } = stream();
  sink.onHead(200, [...EVENT_STREAM, "content-encoding", "br"]);
  sink.onData(brotliCompressSync(streamOf("openai", ["one ", "two "]).join("")));
  exchange.cutFromOutside({ by: "team" });
  for (let turn = 0; turn < 20; turn++) await nextTurn();
  expect(exchange.written).toBe("");
  expect(upstream.aborted).toBe(true);
  expect(outcomes).toMatchObject([{ kind: "cut", reason: "killed_team" }]);
});

test.each([
  ["a stream", stream, streamOf("openai", ["one ", "two "]).join("")],
  ["a document", document, saying("one")],
])(
  "a bug of ours within %s that is decompressed ends that answer, and nothing else",
  async (_what, begun, said) => {
    const bug = new Error("a bug");
    const fails = () => {
      throw bug;
    };
    const relayed = begun({ meter: { onText: fails, onUsage: fails, spent: () => false } });
    await answered(relayed, { coding: "gzip", bytes: gzipSync(said) });
    expect(relayed.upstream.faults).toContain(bug);
    expect(relayed.outcomes).toMatchObject([{ kind: "cut", reason: "stage_failed" }]);
  },
);
