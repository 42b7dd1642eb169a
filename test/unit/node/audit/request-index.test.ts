import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import {
  LARGE_SEGMENT_LEAVES,
  lookUp,
  SegmentBuilder,
  SMALL_SEGMENT_LEAVES,
  segmentPath,
} from "../../../../node/audit/index-segment.ts";
import { IndexWriter, indexedLeaves } from "../../../../node/audit/request-index.ts";
import { uuidV7 } from "../../../../ports/random.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const random = twinRandom(11);
/** One large segment, two small ones, and a few leaves that no segment covers. */
const SIZE = LARGE_SEGMENT_LEAVES + 2 * SMALL_SEGMENT_LEAVES + 7;
const home = tempDir();
const rids = Array.from({ length: SIZE }, (_, i) => uuidV7(1_790_000_000_000 + i, random));
const leafOf = (rid: string): Buffer => Buffer.from(`{"k":"decision","rid":"${rid}","t":1}`);

function files(dir: string) {
  return {
    put: (path: string, bytes: Uint8Array): void => {
      mkdirSync(dirname(join(dir, path)), { recursive: true });
      writeFileSync(join(dir, path), bytes);
    },
    read: () => undefined,
  };
}

function fill(dir: string): void {
  const writer = new IndexWriter(files(dir), 0, [].values());
  for (const [i, rid] of rids.entries()) writer.add(leafOf(rid), i);
}

beforeAll(() => {
  fill(home.path);
  return () => home[Symbol.dispose]();
});

const all = { from: 0, to: SIZE };

describe("the index by request id", () => {
  test("names the leaf of every id it covers, and says what it does not cover", () => {
    for (let i = 0; i < SIZE; i += 97) {
      const { leaves, uncovered } = indexedLeaves(home.path, rids[i] as string, all);
      expect(uncovered).toEqual([{ first: SIZE - 7, leaves: 7 }]);
      expect(leaves).toEqual(i < SIZE - 7 ? [i] : []);
    }
  });

  test("knows no id that is not there", () => {
    for (let i = 0; i < 50; i++) {
      expect(indexedLeaves(home.path, uuidV7(i, random), all).leaves).toEqual([]);
    }
  });

  test("names all leaves of one id, and both ends of a flood", () => {
    const [first, last] = [rids[0] as string, rids[1] as string];
    const builder = new SegmentBuilder(SMALL_SEGMENT_LEAVES);
    builder.add(leafOf(first));
    builder.add(Buffer.from(`{"first":"${first}","k":"flood","last":"${last}"}`));
    builder.add(Buffer.from(`{"k":"boot"}`));
    builder.add(leafOf(first));
    const bytes = builder.encode();
    const read = (into: Buffer, at: number): number => bytes.copy(into, 0, at);
    expect(lookUp(read, first)).toEqual([0, 1, 3].map((at) => SMALL_SEGMENT_LEAVES + at));
    expect(lookUp(read, last)).toEqual([SMALL_SEGMENT_LEAVES + 1]);
  });

  test("goes on after a restart where the log's last leaves are given", () => {
    using other = tempDir();
    const put = new Map<string, Uint8Array>();
    const memory = {
      put: (path: string, bytes: Uint8Array) => put.set(path, bytes),
      read: (path: string) => put.get(path) as Buffer | undefined,
    };
    const at = SMALL_SEGMENT_LEAVES + 100;
    const before = new IndexWriter(memory, 0, [].values());
    for (let i = 0; i < at; i++) before.add(leafOf(rids[i] as string), i);
    const tail = rids.slice(SMALL_SEGMENT_LEAVES, at).map(leafOf);
    const after = new IndexWriter(memory, at, tail.values());
    for (let i = at; i < LARGE_SEGMENT_LEAVES; i++) after.add(leafOf(rids[i] as string), i);
    for (const [path, bytes] of put) files(other.path).put(path, bytes);
    expect(put.has(segmentPath({ first: 0, leaves: LARGE_SEGMENT_LEAVES }))).toBe(true);
    for (const i of [0, at - 1, at, LARGE_SEGMENT_LEAVES - 1]) {
      const span = { from: 0, to: LARGE_SEGMENT_LEAVES };
      expect(indexedLeaves(other.path, rids[i] as string, span)).toEqual({
        leaves: [i],
        uncovered: [],
      });
    }
  });

  test.each([
    ["a restart near a segment's end", SMALL_SEGMENT_LEAVES - 3, "whole"],
    ["a restart that waits for none of the last leaves", 1_000, "whole"],
    ["last leaves of which some are missing, without their segment", 1_000, "short"],
    ["last leaves that the disk does not give, without their segment", 1_000, "unreadable"],
  ])("goes on after %s", (_, at, state) => {
    const isWhole = state === "whole";
    const put = new Map<string, Uint8Array>();
    const memory = {
      put: (path: string, bytes: Uint8Array) => void put.set(path, bytes),
      read: () => undefined,
    };
    let read = 0;
    function* lastLeaves() {
      for (const rid of rids.slice(0, isWhole ? at : at - 1)) {
        read += 1;
        yield leafOf(rid);
      }
      if (state === "unreadable") throw new Error("EIO: i/o error, read");
    }
    const writer = new IndexWriter(memory, at, lastLeaves());
    expect(read).toBe(0);
    for (let i = at; i < 2 * SMALL_SEGMENT_LEAVES; i++) writer.add(leafOf(rids[i] as string), i);
    const segment = (no: number) => put.get(`index/small/${no}`);
    expect([0, 1].map((no) => segment(no) !== undefined)).toEqual([isWhole, true]);
    const whole = new Map<string, Uint8Array>();
    const builder = new IndexWriter(
      { ...memory, put: (path, bytes) => void whole.set(path, bytes) },
      0,
      [].values(),
    );
    for (let i = 0; i < SMALL_SEGMENT_LEAVES; i++) builder.add(leafOf(rids[i] as string), i);
    if (isWhole) expect(segment(0)).toEqual(whole.get("index/small/0"));
  });

  test("takes in what was there before in even parts where few leaves are to come", () => {
    const at = SMALL_SEGMENT_LEAVES - 64;
    let read = 0;
    function* lastLeaves() {
      for (const rid of rids.slice(0, at)) {
        read += 1;
        yield leafOf(rid);
      }
    }
    const memory = { put: () => undefined, read: () => undefined };
    const writer = new IndexWriter(memory, at, lastLeaves());
    const parts = rids.slice(at, SMALL_SEGMENT_LEAVES).map((rid, no) => {
      const before = read;
      writer.add(leafOf(rid), at + no);
      return read - before;
    });
    expect(parts).toEqual(parts.map(() => at / 64));
  });

  test("leaves a large segment out where the disk does not give a part of it", () => {
    const put = new Map<string, Uint8Array>();
    const read = () => {
      throw new Error("EIO: i/o error, read");
    };
    const memory = { put: (path: string, bytes: Uint8Array) => void put.set(path, bytes), read };
    const writer = new IndexWriter(memory, SMALL_SEGMENT_LEAVES, [].values());
    for (let i = SMALL_SEGMENT_LEAVES; i < LARGE_SEGMENT_LEAVES; i++) {
      writer.add(leafOf(rids[i] as string), i);
    }
    expect(put.has("index/small/1")).toBe(true);
    expect(put.has(segmentPath({ first: 0, leaves: LARGE_SEGMENT_LEAVES }))).toBe(false);
  });

  test("that is missing or damaged is one that says so, whatever was written into it", () => {
    using other = tempDir();
    fill(other.path);
    const name = { first: 0, leaves: LARGE_SEGMENT_LEAVES };
    const path = join(other.path, segmentPath(name));
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(4_096, 0xff)]) {
      writeFileSync(path, bytes);
      // The small ones that it was made of are still there.
      expect(indexedLeaves(other.path, rids[9] as string, all).leaves).toEqual([9]);
    }
    rmSync(join(other.path, "index"), { recursive: true });
    const { leaves, uncovered } = indexedLeaves(other.path, rids[9] as string, all);
    expect(leaves).toEqual([]);
    expect(uncovered.reduce((sum, one) => sum + one.leaves, 0)).toBe(SIZE);
  });
});
