import { describe, expect, test } from "vitest";
import { FrameReader, framed } from "../../../adapters/grpc-frames.ts";

const MESSAGES = ["", "one", "x".repeat(300), "", "last"].map((text) => Buffer.from(text));
const BYTES = Buffer.concat(MESSAGES.map(framed));

describe("gRPC's frames", () => {
  test.each([1, 2, 4, 5, 6, 64, 1_000])("are read however they are cut, here by %i", (size) => {
    const reader = new FrameReader(300);
    const read: Buffer[] = [];
    for (let at = 0; at < BYTES.length; at += size) {
      read.push(...reader.push(BYTES.subarray(at, at + size)));
    }
    expect(read).toEqual(MESSAGES);
    expect(reader.isInside).toBe(false);
  });

  test("that are not whole are inside one", () => {
    for (const cut of [1, 4, 5, 7]) {
      const reader = new FrameReader(300);
      expect(reader.push(framed(Buffer.from("one")).subarray(0, cut))).toEqual([]);
      expect(reader.isInside).toBe(true);
    }
  });

  test("are refused by their head where they are too long, or compressed", () => {
    const long = framed(Buffer.alloc(301)).subarray(0, 5);
    expect(() => new FrameReader(300).push(long)).toThrow("301 bytes");
    expect(() => new FrameReader(300).push(Buffer.from([1, 0, 0, 0, 0]))).toThrow("compressed");
  });
});
