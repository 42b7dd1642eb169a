import { describe, expect, test } from "vitest";
import { BundleBuilder } from "../../../audit/bundle-builder.ts";
import { encodeLeaf, LEAF_BYTES_MAX, sealLeaf } from "../../../audit/leaf.ts";
import { fullRootInPlace, HASH_BYTES, leafHash, nodeHash } from "../../../audit/merkle.ts";
import { scanLeaf } from "../../../audit/scan-leaf.ts";
import { encodeBundle, TILE_WIDTH } from "../../../audit/tiles.ts";
import { RECORDS } from "./sample-records.ts";

describe("a bundle that grows in place", () => {
  test("holds the bytes, and gives the hashes, of one that is encoded at once", () => {
    const builder = new BundleBuilder();
    const hash = Buffer.alloc(HASH_BYTES);
    const entries: Buffer[] = [];
    for (let seq = 0; seq < TILE_WIDTH; seq++) {
      const leaf = encodeLeaf(RECORDS[seq % RECORDS.length] as (typeof RECORDS)[number]);
      const place = { ep: 7, seq };
      const entry = sealLeaf(leaf, place);
      if (seq % 2 === 0) builder.place({ leaf, scan: scanLeaf(leaf), place }, hash);
      else builder.add(entry, hash);
      expect(hash).toEqual(leafHash(entry));
      entries.push(entry);
    }
    expect(builder.isFull).toBe(true);
    expect(builder.bytes).toEqual(encodeBundle(entries));
  });

  test("grows beyond the room it began with, and keeps what it held", () => {
    const builder = new BundleBuilder(Buffer.alloc(4));
    const entries = Array.from({ length: 9 }, (_, i) => Buffer.alloc(LEAF_BYTES_MAX, i));
    for (const entry of entries) builder.add(entry, Buffer.alloc(HASH_BYTES));
    expect(builder.bytes).toEqual(encodeBundle(entries));
  });

  test("what was handed out stays as it was when more is added", () => {
    const builder = new BundleBuilder();
    builder.add(Buffer.from("one"), Buffer.alloc(HASH_BYTES));
    const before = builder.bytes;
    const copy = Buffer.from(before);
    builder.add(Buffer.from("another"), Buffer.alloc(HASH_BYTES));
    expect(before).toEqual(copy);
  });

  test("a leaf that cannot be placed adds nothing", () => {
    const builder = new BundleBuilder();
    const leaf = Buffer.from('{"a":1}', "latin1");
    const place = { ep: 1, seq: 0 };
    const hash = Buffer.alloc(HASH_BYTES);
    expect(() => builder.place({ leaf, scan: scanLeaf(leaf), place }, hash)).toThrow(/not a leaf/);
    builder.add(Buffer.from("next"), hash);
    expect(builder.bytes).toEqual(encodeBundle([Buffer.from("next")]));
  });
});

test.each([2, 4, 256])("the root over %d hashes in place is the root by nodes", (count) => {
  const leaves = Array.from({ length: count }, (_, i) => leafHash(Buffer.from([i])));
  let row: Buffer[] = leaves;
  while (row.length > 1) {
    row = Array.from({ length: row.length / 2 }, (_, i) =>
      nodeHash(row[2 * i] as Buffer, row[2 * i + 1] as Buffer),
    );
  }
  const bytes = Buffer.concat([Buffer.alloc(1), ...leaves]);
  expect(Buffer.from(fullRootInPlace(bytes, count))).toEqual(row[0]);
});
