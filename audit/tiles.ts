/**
 * The files of a log: tiles of 256 hashes and bundles of 256 entries, and where they lie.
 *
 * @see https://c2sp.org/tlog-tiles
 */

import { HASH_BYTES, nodeHash, rootOfPeaks, type SubtreeHash } from "./merkle.ts";
import { flawed, type Parsed, parsed } from "./parsed.ts";

/** Hashes of a full tile, and entries of a full bundle. */
export const TILE_WIDTH = 256;
/** Levels of the tree that one tile spans: 2^8 = 256. */
export const TILE_HEIGHT = 8;
/** The format's own limit for one entry, in bytes; leaves of ours are far smaller. */
export const ENTRY_BYTES_MAX = 0xffff;

/** What stands before each entry of a bundle: its length. */
export const LENGTH_BYTES = 2;

/** Where the signed tree head lies. */
export const CHECKPOINT_PATH = "checkpoint";

/** A tile: `width` hashes from slot 0; `TILE_WIDTH` when it is full. */
export type Tile = { readonly level: number; readonly index: number; readonly width: number };
/** A bundle: the entries whose hashes are in the tile of level 0 with the same index and width. */
export type Bundle = { readonly index: number; readonly width: number };

/** `tile/<level>/<index>[.p/<width>]`. */
export function tilePath({ level, index, width }: Tile): string {
  return `tile/${level}/${indexPath(index)}${widthSuffix(width)}`;
}

/** `tile/entries/<index>[.p/<width>]`. */
export function bundlePath({ index, width }: Bundle): string {
  return `tile/entries/${indexPath(index)}${widthSuffix(width)}`;
}

/** The index in groups of three digits, all but the last marked: 1234067 is `x001/x234/067`. */
function indexPath(index: number): string {
  const digits = String(index);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/.{3}/g) ?? [];
  return groups.map((group, i) => (i < groups.length - 1 ? `x${group}` : group)).join("/");
}

function widthSuffix(width: number): string {
  return width === TILE_WIDTH ? "" : `.p/${width}`;
}

/** Hashes that a tree of `size` leaves has on one level of tiles, full and partial. */
function hashesAt(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** level);
}

/** Width of the partial tile on `level` in a tree of `size` leaves: 1..255, or 0 for none. */
export function partialWidth(level: number, size: number): number {
  return hashesAt(level, size) % TILE_WIDTH;
}

/** Every tile of a tree of `size` leaves, level by level. */
export function* tilesOf(size: number): Generator<Tile> {
  for (let level = 0; hashesAt(level, size) > 0; level++) {
    for (const bundle of bundlesOf(hashesAt(level, size))) yield { level, ...bundle };
  }
}

/** Every entry bundle of a log of `size` entries. */
export function* bundlesOf(size: number): Generator<Bundle> {
  const full = Math.floor(size / TILE_WIDTH);
  for (let index = 0; index < full; index++) yield { index, width: TILE_WIDTH };
  if (size % TILE_WIDTH > 0) yield { index: full, width: size % TILE_WIDTH };
}

/**
 * Entries one after the other, each behind its length as a big-endian u16.
 *
 * @throws RangeError More than `TILE_WIDTH` entries, none, or one above `ENTRY_BYTES_MAX`.
 */
export function encodeBundle(entries: readonly Uint8Array[]): Buffer {
  if (entries.length === 0 || entries.length > TILE_WIDTH) {
    throw new RangeError(`a bundle of ${entries.length} entries`);
  }
  const bytes = entries.reduce((sum, entry) => sum + LENGTH_BYTES + entry.length, 0);
  const bundle = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const entry of entries) {
    if (entry.length > ENTRY_BYTES_MAX) throw new RangeError(`an entry of ${entry.length} bytes`);
    at = bundle.writeUInt16BE(entry.length, at);
    bundle.set(entry, at);
    at += entry.length;
  }
  return bundle;
}

export type BundleFlaw = "bundle_truncated" | "bundle_trailing_bytes";

/** Reads exactly `width` entries. They share the memory of `bytes`. */
export function decodeBundle(bytes: Uint8Array, width: number): Parsed<Uint8Array[], BundleFlaw> {
  const entries: Uint8Array[] = [];
  let at = 0;
  while (entries.length < width) {
    const [high, low] = [bytes[at], bytes[at + 1]];
    const end = high === undefined || low === undefined ? Number.NaN : at + 2 + high * 256 + low;
    // Also true for NaN, which is a length that is cut itself.
    if (!(end <= bytes.length)) {
      return flawed("bundle_truncated", `${entries.length} whole entries of ${width}`);
    }
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  if (at < bytes.length) {
    return flawed("bundle_trailing_bytes", `${bytes.length - at} bytes after entry ${width}`);
  }
  return parsed(entries);
}

/** Reads entries to the end of `bytes`, at most `most` of them. They share its memory. */
export function decodeEntries(bytes: Uint8Array, most: number): Parsed<Uint8Array[], BundleFlaw> {
  let count = 0;
  for (let at = 0; at < bytes.length && count < most; count++) {
    const length = (bytes[at] as number) * 256 + (bytes[at + 1] ?? 0);
    at += 2 + length;
  }
  return decodeBundle(bytes, count);
}

/** Bytes that the first `count` of encoded entries take; `undefined`: there are not so many whole ones. */
export function entriesEnd(bytes: Uint8Array, count: number): number | undefined {
  let at = 0;
  for (let no = 0; no < count; no++) {
    if (at + LENGTH_BYTES > bytes.length) return undefined;
    at += LENGTH_BYTES + (bytes[at] as number) * 256 + (bytes[at + 1] as number);
  }
  return at <= bytes.length ? at : undefined;
}

/**
 * Gives a file of the log by its path; `undefined` when there is none. `room` may be taken for it, where it fits.
 */
export type LogReader = { read(path: string, room?: Buffer): Uint8Array | undefined };

/**
 * A partial file may be deleted once the full one exists, so the full one stands in for it. Its
 * tail
 * is newer than the checkpoint that asked for the partial one, and is not looked at.
 */
export function readTile(reader: LogReader, tile: Tile): Uint8Array | undefined {
  const exact = reader.read(tilePath(tile));
  if (exact !== undefined || tile.width === TILE_WIDTH) return exact;
  const full = reader.read(tilePath({ ...tile, width: TILE_WIDTH }));
  return full?.length === TILE_WIDTH * HASH_BYTES
    ? full.subarray(0, tile.width * HASH_BYTES)
    : undefined;
}

/** A bundle of the given width, from the partial file or the beginning of the full one. */
export function readBundle(
  reader: LogReader,
  bundle: Bundle,
): Parsed<Uint8Array[], BundleFlaw | "bundle_missing"> {
  const exact = reader.read(bundlePath(bundle));
  if (exact !== undefined) return decodeBundle(exact, bundle.width);
  const path = bundlePath({ ...bundle, width: TILE_WIDTH });
  const full = bundle.width === TILE_WIDTH ? undefined : reader.read(path);
  if (full === undefined) return flawed("bundle_missing", bundlePath(bundle));
  const entries = decodeBundle(full, TILE_WIDTH);
  return entries.ok ? parsed(entries.value.slice(0, bundle.width)) : entries;
}

/**
 * The same as the bytes that hold the entries, which are no views of their own: of a whole log those are more than its
 * bytes.
 *
 * @param room Memory that may be taken for it.
 * @returns Undefined: there is no such bundle, or no sound one.
 */
export function readBundleBytes(
  reader: LogReader,
  bundle: Bundle,
  room: Buffer,
): Uint8Array | undefined {
  const { index, width } = bundle;
  const exact = reader.read(bundlePath(bundle), room);
  if (exact !== undefined) return entriesEnd(exact, width) === exact.length ? exact : undefined;
  if (width === TILE_WIDTH) return undefined;
  const full = reader.read(bundlePath({ index, width: TILE_WIDTH }), room);
  if (full === undefined || entriesEnd(full, TILE_WIDTH) !== full.length) return undefined;
  return full.subarray(0, entriesEnd(full, width));
}

/** A tile that is not there or does not have the size its width asks for. */
export class TileError extends Error {
  override readonly name = "TileError";
}

/**
 * Hashes of full subtrees in the tree of `size` leaves, read from tiles: what proofs are made of.
 *
 * Tiles are believed here. Whoever makes a proof from them verifies it against a signed root.
 *
 * @throws TileError (when called) A tile is missing or has the wrong length.
 */
export function subtreesFromTiles(
  size: number,
  read: (tile: Tile) => Uint8Array | undefined,
): SubtreeHash {
  return (level, index) => {
    const tileLevel = Math.floor(level / TILE_HEIGHT);
    const span = 2 ** (level % TILE_HEIGHT);
    const first = index * span;
    const tileIndex = Math.floor(first / TILE_WIDTH);
    const left = hashesAt(tileLevel, size) - tileIndex * TILE_WIDTH;
    const tile = { level: tileLevel, index: tileIndex, width: Math.min(left, TILE_WIDTH) };
    const slot = first % TILE_WIDTH;
    if (slot + span > tile.width) throw new RangeError("the tree has no such subtree");
    const bytes = read(tile);
    if (bytes === undefined) throw new TileError(`${tilePath(tile)} is missing`);
    if (bytes.length !== tile.width * HASH_BYTES) {
      throw new TileError(`${tilePath(tile)} has ${bytes.length} bytes`);
    }
    const hashes = hashesIn(bytes.subarray(slot * HASH_BYTES, (slot + span) * HASH_BYTES));
    return rootOfPeaks(peaksOf(hashes));
  };
}

/** The hashes in a tile's bytes, sharing their memory. */
export function hashesIn(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: Math.floor(bytes.length / HASH_BYTES) }, (_, slot) =>
    bytes.subarray(slot * HASH_BYTES, (slot + 1) * HASH_BYTES),
  );
}

/** Roots of the full subtrees over a tile's hashes, largest first. */
export function peaksOf(hashes: readonly Uint8Array[]): Uint8Array[] {
  const peaks: Uint8Array[] = [];
  for (const [i, hash] of hashes.entries()) {
    let peak = hash;
    for (let carry = i; carry % 2 === 1; carry = (carry - 1) / 2) {
      peak = nodeHash(peaks.pop() as Uint8Array, peak);
    }
    peaks.push(peak);
  }
  return peaks;
}
