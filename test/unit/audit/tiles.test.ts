import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  consistencyProof,
  HASH_BYTES,
  inclusionProof,
  leafHash,
  RightEdge,
  rootAt,
  verifyConsistency,
  verifyInclusion,
} from "../../../audit/merkle.ts";
import { TileEdge } from "../../../audit/tile-edge.ts";
import {
  bundlePath,
  bundlesOf,
  decodeBundle,
  ENTRY_BYTES_MAX,
  encodeBundle,
  entriesEnd,
  partialWidth,
  readBundle,
  readBundleBytes,
  readTile,
  subtreesFromTiles,
  type Tile,
  TileError,
  tilePath,
  tilesOf,
} from "../../../audit/tiles.ts";
import { naivePath, naiveProof, naiveRoot, numberedEntries } from "./naive-tree.ts";

describe("paths", () => {
  test.each([
    [0, "000"],
    [7, "007"],
    [999, "999"],
    [1_000, "x001/000"],
    [67_067, "x067/067"],
    [1_234_067, "x001/x234/067"],
    [10 ** 9, "x001/x000/x000/000"],
  ])("index %i lies at %s", (index, path) => {
    expect(tilePath({ level: 0, index, width: 256 })).toBe(`tile/0/${path}`);
    expect(tilePath({ level: 3, index, width: 17 })).toBe(`tile/3/${path}.p/17`);
    expect(bundlePath({ index, width: 256 })).toBe(`tile/entries/${path}`);
    expect(bundlePath({ index, width: 1 })).toBe(`tile/entries/${path}.p/1`);
  });

  test("no two tiles of a tree share a path", () => {
    const paths = [...tilesOf(70_000)].map(tilePath);
    expect(new Set(paths).size).toBe(paths.length);
  });
});

describe("which tiles there are", () => {
  test("a tree of 70,000 has the tiles that the specification lists", () => {
    const tiles = [...tilesOf(70_000)];
    expect(tiles.filter(({ level, width }) => level === 0 && width === 256)).toHaveLength(273);
    expect(tiles.filter(({ level, width }) => level > 0 || width < 256).map(tilePath)).toEqual([
      "tile/0/273.p/112",
      "tile/1/000",
      "tile/1/001.p/17",
      "tile/2/000.p/1",
    ]);
    expect([...bundlesOf(70_000)].at(-1)).toEqual({ index: 273, width: 112 });
    expect([...bundlesOf(70_000)]).toHaveLength(274);
  });

  test.each([
    [0, []],
    [1, ["tile/0/000.p/1"]],
    [255, ["tile/0/000.p/255"]],
    [256, ["tile/0/000", "tile/1/000.p/1"]],
    [257, ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]],
  ])("a tree of %i has %j", (size, paths) => {
    expect([...tilesOf(size)].map(tilePath)).toEqual(paths);
  });

  test("a tree of 256^2 has a full tile of level 1 and one hash of level 2", () => {
    const tiles = [...tilesOf(65_536)].filter(({ level }) => level > 0).map(tilePath);
    expect(tiles).toEqual(["tile/1/000", "tile/2/000.p/1"]);
    expect(partialWidth(1, 65_536)).toBe(0);
    expect(partialWidth(2, 65_536)).toBe(1);
  });
});

describe("bundles", () => {
  const entries = [Buffer.alloc(0), Buffer.from("a"), Buffer.alloc(ENTRY_BYTES_MAX, 7)];
  const bytes = encodeBundle(entries);

  test("are entries behind big-endian lengths", () => {
    expect(encodeBundle(entries.slice(0, 2)).toString("hex")).toBe("0000000161");
    const decoded = decodeBundle(bytes, 3);
    expect(decoded.ok && decoded.value.map((entry) => Buffer.from(entry))).toEqual(entries);
  });

  test("of another width than asked for are refused", () => {
    expect(decodeBundle(bytes, 2)).toMatchObject({ ok: false, flaw: "bundle_trailing_bytes" });
    expect(decodeBundle(bytes, 4)).toMatchObject({ ok: false, flaw: "bundle_truncated" });
  });

  test("cut anywhere are refused", () => {
    const small = encodeBundle(entries.slice(0, 2));
    for (let cut = 0; cut < small.length; cut++) {
      expect(decodeBundle(small.subarray(0, cut), 2)).toMatchObject({ flaw: "bundle_truncated" });
    }
  });

  test("that the format cannot carry are a bug", () => {
    expect(() => encodeBundle([])).toThrow(RangeError);
    expect(() => encodeBundle(Array.from({ length: 257 }, () => Buffer.alloc(0)))).toThrow(
      RangeError,
    );
    expect(() => encodeBundle([Buffer.alloc(ENTRY_BYTES_MAX + 1)])).toThrow(RangeError);
  });
});

/** All tiles of a tree over `entries`, kept as files by path. */
function filesOf(entries: readonly Uint8Array[]) {
  const files = new Map<string, Uint8Array>();
  const edge = new TileEdge();
  const save = ({ tile, bytes }: { tile: Tile; bytes: Uint8Array }) =>
    files.set(tilePath(tile), bytes);
  for (const entry of entries) {
    for (const file of edge.append(leafHash(entry))) save(file);
    for (const file of edge.partials()) save(file);
  }
  const reader = { read: (path: string) => files.get(path) };
  return { files, edge, reader, read: (tile: Tile) => readTile(reader, tile) };
}

const entries = numberedEntries(600);
const tree = filesOf(entries);

describe("the edge of a tiled log", () => {
  test("E1: has the naive root at every size", () => {
    const edge = new TileEdge();
    const peaks = new RightEdge();
    for (let size = 1; size <= entries.length; size++) {
      const hash = leafHash(entries[size - 1] as Buffer);
      edge.append(hash);
      peaks.append(hash);
      expect(edge.root()).toEqual(peaks.root());
      if (size % 97 === 0 || size % 256 < 2) {
        expect(edge.root()).toEqual(naiveRoot(entries.slice(0, size)));
      }
    }
  });

  test("E2: leaves exactly the tiles that the specification lists", () => {
    for (const size of [1, 255, 256, 257, 511, 512, 513, 600]) {
      const { edge, files } = filesOf(entries.slice(0, size));
      const partials = edge.partials().map(({ tile }) => tile);
      const listed = [...tilesOf(size)];
      expect(partials).toEqual(listed.filter(({ width }) => width < 256));
      for (const tile of listed) {
        expect(files.get(tilePath(tile))?.length).toBe(tile.width * HASH_BYTES);
      }
    }
  });

  test("E1: a full tile of level 1 holds the roots of 256 full tiles of level 0", () => {
    const edge = new TileEdge();
    const hash = leafHash(Buffer.from("same"));
    const full = [];
    for (let i = 0; i < 65_536; i++) full.push(...edge.append(hash));
    const level1 = full.filter(({ tile }) => tile.level === 1);
    expect(level1.map(({ tile }) => tile)).toEqual([{ level: 1, index: 0, width: 256 }]);
    const peak = new RightEdge();
    for (let i = 0; i < 256; i++) peak.append(hash);
    expect(level1[0]?.bytes.subarray(0, 32)).toEqual(peak.root());
    expect(edge.partials().map(({ tile }) => tile)).toEqual([{ level: 2, index: 0, width: 1 }]);
    expect(edge.partials()[0]?.bytes).toEqual(edge.root());
  });

  test("a restored edge goes on like the one that never stopped", () => {
    for (const size of [0, 1, 255, 256, 300, 512]) {
      const restored = TileEdge.restore(size, tree.read);
      if (!restored.ok) throw new Error(restored.detail);
      const edge = restored.value;
      expect(edge.size).toBe(size);
      expect(edge.root()).toEqual(naiveRoot(entries.slice(0, size)));
      const fork = edge.clone();
      for (const entry of entries.slice(size)) edge.append(leafHash(entry));
      expect(edge.root()).toEqual(tree.edge.root());
      expect(edge.partials()).toEqual(tree.edge.partials());
      expect(fork.size).toBe(size);
      expect(fork.root()).toEqual(naiveRoot(entries.slice(0, size)));
    }
  });

  test("an edge is not restored from a tile that is missing or of another width", () => {
    const missing = TileEdge.restore(300, () => undefined);
    expect(missing).toMatchObject({ ok: false, flaw: "tile_missing", detail: "tile/0/001.p/44" });
    const short = TileEdge.restore(300, (tile) => tree.read(tile)?.subarray(32));
    expect(short).toMatchObject({ ok: false, flaw: "tile_width_wrong" });
  });
});

describe("proofs from tiles", () => {
  const place = fc
    .integer({ min: 1, max: 600 })
    .chain((size) => fc.record({ size: fc.constant(size), index: fc.nat({ max: size - 1 }) }));

  test("are the naive ones and verify", () => {
    fc.assert(
      fc.property(place, ({ size, index }) => {
        const subtree = subtreesFromTiles(size, tree.read);
        const root = rootAt(size, subtree);
        expect(root).toEqual(naiveRoot(entries.slice(0, size)));
        const leaf = leafHash(entries[index] as Buffer);
        const proof = inclusionProof(index, size, subtree);
        expect(proof).toEqual(naivePath(index, entries.slice(0, size)));
        expect(verifyInclusion({ index, size, leaf, proof, root })).toBe(true);
        const oldSize = index + 1;
        const oldRoot = rootAt(oldSize, subtreesFromTiles(oldSize, tree.read));
        const path = consistencyProof(oldSize, size, subtree);
        expect(path).toEqual(naiveProof(oldSize, entries.slice(0, size)));
        const claim = { oldSize, oldRoot, newSize: size, newRoot: root, proof: path };
        expect(verifyConsistency(claim)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test("are not made from a tile that is missing or of another width", () => {
    const missing = subtreesFromTiles(600, () => undefined);
    expect(() => inclusionProof(0, 600, missing)).toThrow(TileError);
    const long = subtreesFromTiles(600, (tile) => {
      const bytes = tree.read(tile);
      return bytes && Buffer.concat([bytes, bytes]);
    });
    expect(() => inclusionProof(0, 600, long)).toThrow(TileError);
    expect(() => subtreesFromTiles(600, tree.read)(0, 600)).toThrow(RangeError);
  });
});

describe("reading partial files", () => {
  const full = Buffer.concat(entries.slice(0, 256).map(leafHash));
  const only = (path: string, bytes: Uint8Array) => ({
    read: (asked: string) => (asked === path ? bytes : undefined),
  });

  test("a full tile stands in for a partial one that was deleted", () => {
    const tile = { level: 0, index: 0, width: 3 };
    expect(readTile(only("tile/0/000", full), tile)).toEqual(full.subarray(0, 96));
    expect(readTile(only("tile/0/000", full.subarray(1)), tile)).toBeUndefined();
    expect(readTile(only("tile/0/000.p/4", full), tile)).toBeUndefined();
  });

  test("a full bundle stands in for a partial one that was deleted", () => {
    const bundle = encodeBundle(entries.slice(0, 256));
    const read = readBundle(only("tile/entries/000", bundle), { index: 0, width: 3 });
    expect(read.ok && read.value.map(String)).toEqual(["entry 0", "entry 1", "entry 2"]);
    const cut = readBundle(only("tile/entries/000", bundle.subarray(1)), { index: 0, width: 3 });
    expect(cut.ok).toBe(false);
    expect(readBundle(only("x", bundle), { index: 0, width: 3 })).toMatchObject({
      flaw: "bundle_missing",
      detail: "tile/entries/000.p/3",
    });
  });
});

describe("the bytes of a bundle", () => {
  const entries = numberedEntries(300);
  const full = encodeBundle(entries.slice(0, 256));
  const last = encodeBundle(entries.slice(256));
  const files = new Map([
    [bundlePath({ index: 0, width: 256 }), full],
    [bundlePath({ index: 1, width: 44 }), last],
  ]);
  /** Reads into the room that it is given, as a disk does. */
  const reader = {
    read: (path: string, room?: Buffer) => {
      const bytes = files.get(path);
      if (bytes === undefined || room === undefined || bytes.length > room.length) return bytes;
      return room.subarray(0, bytes.copy(room));
    },
  };
  const room = Buffer.alloc(full.length);

  test("are its file's, or the beginning of the full one's", () => {
    const bytesOf = (index: number, width: number) =>
      readBundleBytes(reader, { index, width }, room) ?? [];
    expect(Buffer.from(bytesOf(0, 256))).toEqual(full);
    expect(Buffer.from(bytesOf(1, 44))).toEqual(last);
    expect(Buffer.from(bytesOf(0, 7))).toEqual(encodeBundle(entries.slice(0, 7)));
    expect(Buffer.from(readBundleBytes(reader, { index: 0, width: 256 }, last) ?? [])).toEqual(
      full,
    );
  });

  test("are none where it is missing, cut or longer than its entries", () => {
    expect(readBundleBytes(reader, { index: 1, width: 256 }, room)).toBeUndefined();
    for (const bytes of [full.subarray(0, -1), Buffer.concat([full, Buffer.of(0)])]) {
      const broken = { read: (path: string) => (path.includes(".p/") ? undefined : bytes) };
      expect(readBundleBytes(broken, { index: 0, width: 256 }, room)).toBeUndefined();
      expect(readBundleBytes(broken, { index: 0, width: 7 }, room)).toBeUndefined();
    }
  });

  test("end behind as many whole entries as are asked for", () => {
    expect(entriesEnd(last, 0)).toBe(0);
    expect(entriesEnd(last, 44)).toBe(last.length);
    expect(entriesEnd(last, 45)).toBeUndefined();
    expect(entriesEnd(last.subarray(0, -1), 44)).toBeUndefined();
  });
});
