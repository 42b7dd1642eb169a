import { createParser } from "eventsource-parser";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readFrame, type SseFrame, SseFrames } from "../../../../node/dataplane/sse-frames.ts";
import { proofCount } from "../../../support/proof.ts";

type Said = { readonly event: string | undefined; readonly data: string };

function split(chunks: readonly Uint8Array[], frameBytesMax = 4096) {
  const frames = new SseFrames({ frameBytesMax });
  const read: SseFrame[] = [];
  for (const chunk of chunks) read.push(...frames.push(chunk));
  const rest = frames.end();
  return { read, rest, fault: frames.fault };
}

function chunksOf(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  const edges = [0, ...places, bytes.length];
  return edges.slice(1).map((end, index) => bytes.slice(edges[index] as number, end));
}

function said(frames: readonly SseFrame[]): Said[] {
  return frames.flatMap((frame) => {
    const words = readFrame(frame);
    return words?.data === undefined ? [] : [{ event: words.event, data: words.data }];
  });
}

function saidByLibrary(text: string): Said[] {
  const events: Said[] = [];
  const parser = createParser({ onEvent: ({ event, data }) => events.push({ event, data }) });
  parser.feed(text);
  return events;
}

const streams = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        "data: ",
        "data:",
        "event: ",
        "event",
        "event:a",
        "id: 1",
        ":",
        ": note",
        "retry: 5",
        "foo",
        "\ufeff",
      ),
      fc.constantFrom("\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n"),
      fc.constantFrom("data: x\n\n", 'data: {"a":"é😀"}\r\n\r\n', "event: ping\ndata: y\n\n"),
      fc.string({ unit: "grapheme", maxLength: 5 }),
    ),
    { maxLength: 20 },
  )
  .map((parts) => parts.join(""));

const cuts = fc.array(fc.nat(400), { maxLength: 12 });

const PROOF_TIMEOUT_MS = 240_000;

describe("frames", () => {
  test("are, joined, the stream, however it is cut into chunks", () => {
    fc.assert(
      fc.property(streams, cuts, (text, places) => {
        const bytes = Buffer.from(text);
        const { read, rest } = split(chunksOf(bytes, places));
        const joined = Buffer.concat([...read, ...(rest ? [rest] : [])].map((one) => one.bytes));
        expect(joined.equals(bytes)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });

  test(
    "say what eventsource-parser reads, however the stream is cut",
    () => {
      const { count, seed } = proofCount("event streams", { small: 1_000, full: 200_000 });
      fc.assert(
        fc.property(streams, cuts, (text, places) => {
          const { read, fault } = split(chunksOf(Buffer.from(text), places));
          expect(fault).toBeUndefined();
          expect(said(read)).toEqual(saidByLibrary(text));
        }),
        { numRuns: count, seed },
      );
    },
    PROOF_TIMEOUT_MS,
  );

  test("are the same at every single cut", () => {
    const text = "\ufeffevent: a\r\ndata: é\r\ndata: 😀\r\n\r\n: c\n\ndata: 2\r\rid: 7\ndata\n\n";
    const bytes = Buffer.from(text);
    const whole = said(split([bytes]).read);
    expect(whole).toEqual([
      { event: "a", data: "é\n😀" },
      { event: undefined, data: "2" },
      { event: undefined, data: "" },
    ]);
    for (let at = 0; at <= bytes.length; at++) {
      const { read } = split([bytes.subarray(0, at), bytes.subarray(at)]);
      expect(said(read), `cut at ${at}`).toEqual(whole);
    }
  });

  test("leave at once when they end in a carriage return", () => {
    const frames = new SseFrames({ frameBytesMax: 100 });
    expect(said(frames.push(Buffer.from("data: 1\r\n\r")))).toEqual([
      { event: undefined, data: "1" },
    ]);
    const [feed] = frames.push(Buffer.from("\n"));
    expect(feed && readFrame(feed)).toMatchObject({ data: undefined, rest: "" });
    expect(Buffer.from(feed?.bytes ?? []).toString()).toBe("\n");
    expect(said(frames.push(Buffer.from("data: 2\n\n")))).toEqual([
      { event: undefined, data: "2" },
    ]);
  });

  test("keep what no client shows apart from the data", () => {
    const { read } = split([Buffer.from(": c\nid: 7\nretry: 3\nother: x\ndata: d\n\n")]);
    expect(read.map(readFrame)).toMatchObject([
      { data: "d", rest: ": c\nid: 7\nretry: 3\nother: x\n" },
    ]);
  });

  test("without their empty line are what is left at the end", () => {
    const { read, rest } = split([Buffer.from("data: 1\n\ndata: 2\n")]);
    expect(said(read)).toEqual([{ event: undefined, data: "1" }]);
    expect(rest && readFrame(rest)).toMatchObject({ data: "2" });
    expect(split([Buffer.from("data: 1\n\n")]).rest).toBeUndefined();
  });
});

describe("a stream that cannot be read on", () => {
  test("is one whose frame is over the limit, in one chunk or in many", () => {
    const frame = Buffer.from(`data: ${"x".repeat(200)}\n\n`);
    expect(split([frame], 100)).toMatchObject({ read: [], fault: "frame_too_large" });
    const bytes = Array.from(frame, (byte) => Uint8Array.of(byte));
    expect(split(bytes, 100)).toMatchObject({ read: [], fault: "frame_too_large" });
    expect(split([frame], frame.length).fault).toBeUndefined();
  });

  test("is one without any line end, which is dropped at the limit", () => {
    const frames = new SseFrames({ frameBytesMax: 1_000 });
    for (let sent = 0; sent < 100; sent++) frames.push(Buffer.alloc(64, "x"));
    expect(frames.fault).toBe("frame_too_large");
  });

  test("is one of which a frame is not UTF-8", () => {
    const bytes = Buffer.concat([
      Buffer.from("data: 1\n\ndata: "),
      Buffer.of(0xff),
      Buffer.from("\n\n"),
    ]);
    const { read } = split([bytes]);
    expect(read.map(readFrame)).toMatchObject([{ data: "1" }, undefined]);
  });

  test("is not one whose characters are split between chunks", () => {
    const bytes = Array.from(Buffer.from("data: 😀é\n\n"), (byte) => Uint8Array.of(byte));
    expect(said(split(bytes).read)).toEqual([{ event: undefined, data: "😀é" }]);
  });
});
