import { expect, test } from "vitest";
import { consistencyProof } from "../../../audit/merkle.ts";
import { rememberedSubtrees, SUBTREES_REMEMBERED_MAX } from "../../../audit/remembered-subtrees.ts";
import { readTile, subtreesFromTiles } from "../../../audit/tiles.ts";
import { buildLog, entriesOf, recordsOf } from "./sample-log.ts";

const SIZES = [300, 520];
const LOGS = SIZES.map((size) => buildLog(entriesOf(recordsOf(size))));

function hexOf(hashes: readonly Uint8Array[]): readonly string[] {
  return hashes.map((hash) => hash.toHex());
}

test("proofs of a log that grows are the same, and what they have in common is read once", () => {
  let reads = 0;
  const remembered = rememberedSubtrees();
  for (const [i, log] of LOGS.entries()) {
    const size = SIZES[i] as number;
    const plain = subtreesFromTiles(size, (tile) =>
      readTile({ read: (path) => log.files.get(path) }, tile),
    );
    const counted = remembered((level, index) => {
      reads += 1;
      return plain(level, index);
    });
    for (const from of [1, 100, 256, 299]) {
      const proof = hexOf(consistencyProof(from, size, plain));
      expect(hexOf(consistencyProof(from, size, counted))).toEqual(proof);
      const before = reads;
      expect(hexOf(consistencyProof(from, size, counted))).toEqual(proof);
      expect(reads).toBe(before);
    }
  }
});

test("what cannot be read is not remembered, and no more than the limit is", () => {
  const asked: string[] = [];
  const subtree = rememberedSubtrees()((level, index) => {
    asked.push(`${level}/${index}`);
    if (asked.length === 1) throw new Error("not there");
    return new Uint8Array(32);
  });
  expect(() => subtree(0, 0)).toThrow("not there");
  for (let index = 0; index <= SUBTREES_REMEMBERED_MAX; index += 1) subtree(0, index);
  subtree(0, 0);
  expect(asked).toHaveLength(SUBTREES_REMEMBERED_MAX + 3);
});

test("a hash keeps nothing of what it was read in", () => {
  const tile = Buffer.alloc(8_192, 7);
  const subtree = rememberedSubtrees()(() => tile.subarray(32, 64));
  for (const hash of [subtree(0, 1), subtree(0, 1)]) {
    expect(hash).toEqual(new Uint8Array(32).fill(7));
    expect(hash.buffer.byteLength).toBe(32);
  }
});
