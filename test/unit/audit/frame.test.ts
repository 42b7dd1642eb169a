import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { crc32c } from "../../../audit/crc32c.ts";
import { encodeFrame, FRAME_HEAD_BYTES, readFrames } from "../../../audit/frame.ts";
import { encodeLeaf, LEAF_BYTES_MAX } from "../../../audit/leaf.ts";
import { RECORDS } from "./sample-records.ts";

describe("CRC-32C", () => {
  test.each<[string, Uint8Array, number]>([
    ["32 bytes of zeros", new Uint8Array(32), 0x8a9136aa],
    ["32 bytes of ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ["32 bytes counting up", Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    ["32 bytes counting down", Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
    ["the digits 1 to 9", Buffer.from("123456789"), 0xe3069283],
    ["nothing", new Uint8Array(0), 0],
  ])("of %s is the published one", (_name, bytes, crc) => {
    expect(crc32c(bytes)).toBe(crc);
  });

  test("is the same by eight bytes as by one bit", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => crc32c(bytes) === byBit(bytes)),
    );
  });
});

function byBit(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

const leaves = RECORDS.map((record) => encodeLeaf(record));
const wal = Buffer.concat(leaves.map(encodeFrame));

test("a frame is length, checksum, leaf, big endian", () => {
  const frame = encodeFrame(Buffer.from("123456789"));
  expect(frame.toString("hex")).toBe(`00000009e3069283${Buffer.from("123456789").toString("hex")}`);
});

test("F1: whole frames come back as they were written", () => {
  const read = readFrames(wal);
  expect(read.leaves.map((leaf) => Buffer.from(leaf))).toEqual(leaves);
  expect(read).toMatchObject({ wholeBytes: wal.length, torn: false });
  expect(readFrames(new Uint8Array(0))).toEqual({ leaves: [], wholeBytes: 0, torn: false });
});

test("F2: a file cut at any byte gives exactly the frames before the cut", () => {
  const ends = leaves.map((leaf) => leaf.length + FRAME_HEAD_BYTES);
  for (let cut = 0; cut <= wal.length; cut++) {
    let whole = 0;
    let count = 0;
    while (count < ends.length && whole + (ends[count] as number) <= cut)
      whole += ends[count++] as number;
    const read = readFrames(wal.subarray(0, cut));
    expect(read.leaves.length).toBe(count);
    expect(read.wholeBytes).toBe(whole);
    expect(read.torn).toBe(cut !== whole);
    if (read.torn)
      expect(read.flaw).toBe(cut - whole < FRAME_HEAD_BYTES ? "head_short" : "leaf_short");
  }
});

test("F1: no flipped bit is read as a frame", () => {
  const frame = encodeFrame(leaves[1] as Buffer);
  for (let bit = 0; bit < frame.length * 8; bit++) {
    const bent = Buffer.from(frame);
    bent[bit >> 3] = (bent[bit >> 3] as number) ^ (1 << (bit & 7));
    const read = readFrames(bent);
    expect(read.leaves, `bit ${bit}`).toEqual([]);
    expect(read).toMatchObject({ wholeBytes: 0, torn: true });
  }
});

test.each<[string, Uint8Array, string]>([
  ["zeros that a file system filled in", new Uint8Array(64), "length_zero"],
  ["a length beyond the limit", Buffer.from([0, 0, 0x40, 1, 0, 0, 0, 0, 1]), "length_too_large"],
  ["the largest length, and no leaf", Buffer.from([0, 0, 0x40, 0, 0, 0, 0, 0]), "leaf_short"],
  ["a wrong checksum", Buffer.from([0, 0, 0, 1, 0, 0, 0, 0, 65]), "crc_wrong"],
])("F2: after whole frames, %s end the reading", (_name, tail, flaw) => {
  const read = readFrames(Buffer.concat([wal, tail, wal]));
  expect(read.leaves.length).toBe(leaves.length);
  expect(read).toMatchObject({ wholeBytes: wal.length, torn: true, flaw });
});

test("frames are read from the middle of a larger buffer", () => {
  const inside = Buffer.concat([Buffer.from("junk"), wal]).subarray(4);
  expect(readFrames(inside).leaves.length).toBe(leaves.length);
});

test("a leaf that no frame can carry is a bug", () => {
  expect(() => encodeFrame(new Uint8Array(0))).toThrow(RangeError);
  expect(() => encodeFrame(new Uint8Array(LEAF_BYTES_MAX + 1))).toThrow(RangeError);
  expect(readFrames(encodeFrame(new Uint8Array(LEAF_BYTES_MAX))).torn).toBe(false);
});
