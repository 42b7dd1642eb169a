import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  consistencyProof,
  emptyRoot,
  inclusionProof,
  leafHash,
  nodeHash,
  RightEdge,
  rootAt,
  type SubtreeHash,
  verifyConsistency,
  verifyInclusion,
} from "../../../audit/merkle.ts";
import { proofCount } from "../../support/proof.ts";
import { naivePath, naiveProof, naiveRoot, numberedEntries } from "./naive-tree.ts";

/** Beyond a whole tree of 32 leaves, or of 64: what a proof looks like depends on the powers of two. */
const { count: SIZE_MAX } = proofCount("sizes of trees", { small: 36, full: 70 });
const entries = numberedEntries(SIZE_MAX);
const hashes = entries.map(leafHash);
const roots = Array.from({ length: SIZE_MAX + 1 }, (_, size) => naiveRoot(entries.slice(0, size)));
const subtree: SubtreeHash = (level, index) =>
  naiveRoot(entries.slice(index * 2 ** level, (index + 1) * 2 ** level));
const root = (size: number) => roots[size] as Buffer;
const hash = (index: number) => hashes[index] as Buffer;

/** Leaves of the Certificate Transparency reference tests, and the root of all eight. */
const CT_LEAVES = [
  "",
  "00",
  "10",
  "2021",
  "3031",
  "40414243",
  "5051525354555657",
  "606162636465666768696a6b6c6d6e6f",
].map((hex) => Buffer.from(hex, "hex"));
const CT_ROOTS = [
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

describe("known trees", () => {
  test("the empty root is the hash of nothing", () => {
    expect(emptyRoot().toString("base64")).toBe("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    expect(new RightEdge().root()).toEqual(emptyRoot());
    expect(rootAt(0, subtree)).toEqual(emptyRoot());
  });

  test("the roots of one to eight leaves are those of the reference tests", () => {
    const edge = new RightEdge();
    for (const [i, leaf] of CT_LEAVES.entries()) {
      edge.append(leafHash(leaf));
      expect(edge.root().toString("hex")).toBe(CT_ROOTS[i]);
    }
  });

  test("M1: two leaves that spell a node do not have its hash", () => {
    const node = nodeHash(hash(0), hash(1));
    expect(leafHash(Buffer.concat([hash(0), hash(1)]))).not.toEqual(node);
  });
});

test("M2: the right edge has the naive root at every size", () => {
  const edge = new RightEdge();
  for (let size = 1; size <= SIZE_MAX; size++) {
    edge.append(hash(size - 1));
    expect(edge.size).toBe(size);
    expect(edge.root()).toEqual(root(size));
    expect(rootAt(size, subtree)).toEqual(root(size));
  }
});

test("every inclusion proof is the naive one and verifies", () => {
  for (let size = 1; size <= SIZE_MAX; size++) {
    for (let index = 0; index < size; index++) {
      const proof = inclusionProof(index, size, subtree);
      expect(proof).toEqual(naivePath(index, entries.slice(0, size)));
      const claim = { index, size, leaf: hash(index), proof, root: root(size) };
      expect(verifyInclusion(claim), `${index} of ${size}`).toBe(true);
      // Neighbouring leaves, indexes and sizes, and a proof one hash off, are other claims.
      expect(verifyInclusion({ ...claim, index: index + 1 })).toBe(false);
      expect(verifyInclusion({ ...claim, leaf: leafHash(hash(index)) })).toBe(false);
      expect(verifyInclusion({ ...claim, proof: [...proof, emptyRoot()] })).toBe(false);
      if (proof.length > 0) {
        expect(verifyInclusion({ ...claim, proof: proof.slice(1) })).toBe(false);
        expect(verifyInclusion({ ...claim, proof: proof.slice(0, -1) })).toBe(false);
      }
    }
  }
});

test("every consistency proof is the naive one and verifies", () => {
  for (let newSize = 1; newSize <= SIZE_MAX; newSize++) {
    for (let oldSize = 1; oldSize <= newSize; oldSize++) {
      const proof = consistencyProof(oldSize, newSize, subtree);
      expect(proof).toEqual(naiveProof(oldSize, entries.slice(0, newSize)));
      const claim = { oldSize, newSize, oldRoot: root(oldSize), newRoot: root(newSize), proof };
      expect(verifyConsistency(claim), `${oldSize} to ${newSize}`).toBe(true);
      expect(verifyConsistency({ ...claim, oldRoot: hash(0), newRoot: hash(1) })).toBe(false);
      expect(verifyConsistency({ ...claim, proof: [...proof, emptyRoot()] })).toBe(false);
      if (proof.length > 0) {
        expect(verifyConsistency({ ...claim, proof: proof.slice(1) })).toBe(false);
        expect(verifyConsistency({ ...claim, proof: proof.slice(0, -1) })).toBe(false);
        expect(verifyConsistency({ ...claim, proof: [] })).toBe(false);
      }
    }
  }
});

const place = fc
  .integer({ min: 1, max: SIZE_MAX })
  .chain((size) => fc.record({ size: fc.constant(size), index: fc.nat({ max: size - 1 }) }));

test("M3: an inclusion claim with any bit changed fails", () => {
  fc.assert(
    fc.property(place, fc.nat(), fc.nat({ max: 255 }), ({ size, index }, pick, bit) => {
      const parts = [hash(index), root(size), ...inclusionProof(index, size, subtree)];
      const [leaf, top, ...proof] = flipped(parts, pick % parts.length, bit);
      return !verifyInclusion({ index, size, leaf, root: top, proof });
    }),
  );
});

test("M3: a consistency claim with any bit changed fails", () => {
  fc.assert(
    fc.property(place, fc.nat(), fc.nat({ max: 255 }), ({ size, index }, pick, bit) => {
      const oldSize = index + 1;
      const parts = [root(oldSize), root(size), ...consistencyProof(oldSize, size, subtree)];
      const [oldRoot, newRoot, ...proof] = flipped(parts, pick % parts.length, bit);
      return !verifyConsistency({ oldSize, newSize: size, oldRoot, newRoot, proof });
    }),
  );
});

function flipped(
  parts: readonly Uint8Array[],
  at: number,
  bit: number,
): [Buffer, Buffer, ...Buffer[]] {
  const copies = parts.map((part) => Buffer.from(part));
  const part = copies[at] as Buffer;
  part[bit >> 3] = (part[bit >> 3] as number) ^ (1 << (bit & 7));
  return copies as [Buffer, Buffer, ...Buffer[]];
}

describe("consistency at the edges", () => {
  test("every tree starts with the empty one", () => {
    const claim = { oldSize: 0, oldRoot: emptyRoot(), newSize: 5, newRoot: root(5), proof: [] };
    expect(consistencyProof(0, 5, subtree)).toEqual([]);
    expect(verifyConsistency(claim)).toBe(true);
    expect(verifyConsistency({ ...claim, oldRoot: root(1) })).toBe(false);
    expect(verifyConsistency({ ...claim, proof: [hash(0)] })).toBe(false);
    expect(verifyConsistency({ ...claim, newSize: 0 })).toBe(false);
    expect(verifyConsistency({ ...claim, newSize: 0, newRoot: emptyRoot() })).toBe(true);
  });

  test("a tree of one size has one root", () => {
    const claim = { oldSize: 5, oldRoot: root(5), newSize: 5, newRoot: root(5), proof: [] };
    expect(verifyConsistency(claim)).toBe(true);
    expect(verifyConsistency({ ...claim, newRoot: root(6) })).toBe(false);
    expect(verifyConsistency({ ...claim, proof: [hash(0)] })).toBe(false);
  });

  test("a tree does not shrink", () => {
    const claim = { oldSize: 6, oldRoot: root(6), newSize: 5, newRoot: root(5), proof: [] };
    expect(verifyConsistency(claim)).toBe(false);
    expect(() => consistencyProof(6, 5, subtree)).toThrow(RangeError);
  });
});

test("numbers and hashes of the wrong shape are refused, not computed with", () => {
  const claim = { index: 0, size: 1, leaf: hash(0), proof: [], root: hash(0) };
  expect(verifyInclusion(claim)).toBe(true);
  for (const wrong of [-1, 0.5, 1, Number.NaN, 2 ** 53]) {
    expect(verifyInclusion({ ...claim, index: wrong })).toBe(false);
    expect(() => inclusionProof(wrong, 1, subtree)).toThrow(RangeError);
  }
  expect(verifyInclusion({ ...claim, leaf: hash(0).subarray(1), root: hash(0).subarray(1) })).toBe(
    false,
  );
  expect(verifyInclusion({ ...claim, size: 0 })).toBe(false);
});

test("M3: a root that was made to fit a proof of the wrong length does not help it", () => {
  const [a, b] = [hash(0), hash(1)];
  // Too short: what the proof leads to is a node inside, offered as the root.
  expect(verifyInclusion({ index: 0, size: 2, leaf: a, proof: [], root: a })).toBe(false);
  expect(verifyInclusion({ index: 0, size: 4, leaf: a, proof: [b], root: nodeHash(a, b) })).toBe(
    false,
  );
  // Too long: the proof goes on above the root of a tree of that size.
  expect(verifyInclusion({ index: 0, size: 1, leaf: a, proof: [b], root: nodeHash(b, a) })).toBe(
    false,
  );
  const claim = { oldSize: 1, oldRoot: a };
  expect(verifyConsistency({ ...claim, newSize: 4, newRoot: nodeHash(a, b), proof: [b] })).toBe(
    false,
  );
  // From 3 leaves to 4 the proof is [c, d, e]; one more hash would lift both roots alike.
  const [c, d, e, x] = [hash(2), hash(3), hash(4), hash(5)];
  const three = nodeHash(e, c);
  const four = nodeHash(e, nodeHash(c, d));
  const sizes = { oldSize: 3, newSize: 4 };
  expect(verifyConsistency({ ...sizes, oldRoot: three, newRoot: four, proof: [c, d, e] })).toBe(
    true,
  );
  const lifted = { oldRoot: nodeHash(x, three), newRoot: nodeHash(x, four), proof: [c, d, e, x] };
  expect(verifyConsistency({ ...sizes, ...lifted })).toBe(false);
});

test("indexes beyond 32 bits are told apart", () => {
  // All leaves are alike here, so every full subtree of one height has one hash.
  const levels: Buffer[] = [hash(0)];
  for (let i = 0; i < 52; i++) levels.push(nodeHash(levels[i] as Buffer, levels[i] as Buffer));
  const alike: SubtreeHash = (level) => levels[level] as Buffer;
  const size = 2 ** 40 + 2 ** 33 + 5;
  const claim = { size, leaf: hash(0), root: rootAt(size, alike) };
  for (const index of [2 ** 40 + 1, size - 1, 2 ** 33]) {
    const proof = inclusionProof(index, size, alike);
    expect(verifyInclusion({ ...claim, index, proof })).toBe(true);
    expect(verifyInclusion({ ...claim, index: size - 1 - index, proof })).toBe(
      index * 2 === size - 1,
    );
  }
  const oldSize = 2 ** 39 + 3;
  const proof = consistencyProof(oldSize, size, alike);
  const oldRoot = rootAt(oldSize, alike);
  expect(verifyConsistency({ oldSize, oldRoot, newSize: size, newRoot: claim.root, proof })).toBe(
    true,
  );
});
