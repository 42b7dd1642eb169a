/**
 * The log itself: leaves become entries, entries fill bundles and tiles, and a checkpoint signs
 * them.
 *
 * L1. A size is signed only when all its entries, tiles and its consumed positions are on the disk.
 * L2. What lies beyond the last checkpoint is nobody's: after a crash it is made again, perhaps in
 *     another order, under the same names.
 * L3. Partial files stay until the full one is on the disk and signed over.
 *
 * Whoever holds this node's disk and key can rewrite what no witness has cosigned. What one has, it
 * remembers: a log that was put back to an older state is recognised when it is next asked.
 *
 * @see https://c2sp.org/tlog-tiles
 */

import { BundleBuilder } from "../../audit/bundle-builder.ts";
import { checkpointText, encodeCheckpoint, signCheckpoint } from "../../audit/checkpoint.ts";
import { sealLeaf } from "../../audit/leaf.ts";
import type { LogFiles } from "../../audit/log-files.ts";
import { HASH_BYTES } from "../../audit/merkle.ts";
import type { LeafScan } from "../../audit/scan-leaf.ts";
import type { NoteSigner } from "../../audit/signed-note.ts";
import { SpareRooms } from "../../audit/spare-rooms.ts";
import type { TileEdge } from "../../audit/tile-edge.ts";
import { bundlePath, CHECKPOINT_PATH, TILE_WIDTH, tilePath } from "../../audit/tiles.ts";
import { type Consumed, encodeConsumed } from "./consumed.ts";
import { IndexWriter } from "./request-index.ts";

/** Folder of the consumed positions, one file for each size. */
const CONSUMED_FOLDER = "consumed";

export type AuditLogState = {
  readonly edge: TileEdge;
  /** Entries of the partial bundle at the edge. */
  readonly entries: readonly Uint8Array[];
  /** The last leaves, from where a segment of the index begins; fewer leave that segment out. Read when they are asked for. */
  readonly tail: Iterator<Uint8Array>;
  /** Latest time of a record, ms since the Unix epoch; 0 in an empty log. */
  readonly latestMs: number;
};

export type AuditLogOptions = {
  readonly files: LogFiles;
  readonly signer: NoteSigner;
  readonly epoch: number;
  readonly state: AuditLogState;
};

export class AuditLog {
  readonly #options: AuditLogOptions;
  readonly #edge: TileEdge;
  /** The partial bundle at the edge. */
  #bundle = new BundleBuilder();
  /** Of bundles that wait to be on the disk. */
  #takenRooms: Buffer[] = [];
  readonly #spareRooms = new SpareRooms();
  readonly #hash = Buffer.alloc(HASH_BYTES);
  #latestMs: number;
  #signedSize: number;
  /** What the last checkpoint signs, and our line of it. */
  #signed: { readonly text: string; readonly line: string } | undefined;
  /** Partial files that are on the disk. */
  readonly #partials = new Set<string>();
  /** Full files whose partial ones can go after the next checkpoint. */
  readonly #filled = new Set<string>();
  readonly #index: IndexWriter;

  constructor(options: AuditLogOptions) {
    const { edge, entries, latestMs } = options.state;
    this.#options = options;
    this.#edge = edge;
    for (const entry of entries) this.#bundle.add(entry, this.#hash);
    this.#latestMs = latestMs;
    this.#signedSize = edge.size;
    this.#index = new IndexWriter(options.files, edge.size, options.state.tail);
  }

  get origin(): string {
    return this.#options.signer.key.name;
  }

  /** Leaves, those included that no checkpoint covers yet. */
  get size(): number {
    return this.#edge.size;
  }

  get signedSize(): number {
    return this.#signedSize;
  }

  get latestMs(): number {
    return this.#latestMs;
  }

  /**
   * Adds a leaf of the WAL.
   *
   * @param t Its time, ms since the Unix epoch.
   * @param ours What `scanLeaf` gave for it, where this program wrote it in this run: it need not be
   *   read to be believed.
   * @throws RecordError It is none; the log is as it was.
   */
  append(leaf: Uint8Array, t: number, ours?: LeafScan): void {
    const place = { ep: this.#options.epoch, seq: this.#edge.size };
    if (ours !== undefined) this.#bundle.place({ leaf, scan: ours, place }, this.#hash);
    else this.#bundle.add(sealLeaf(leaf, place), this.#hash);
    this.#latestMs = Math.max(this.#latestMs, t);
    this.#index.add(leaf, place.seq, ours);
    for (const { tile, bytes } of this.#edge.append(this.#hash)) {
      this.#putFull(tilePath(tile), bytes);
    }
    if (!this.#bundle.isFull) return;
    const { bytes, room } = this.#bundle;
    const index = this.#edge.size / TILE_WIDTH - 1;
    this.#putFull(bundlePath({ index, width: TILE_WIDTH }), bytes);
    this.#takenRooms.push(room);
    this.#bundle = new BundleBuilder(this.#spareRooms.take());
  }

  /** The clock was set back on record: later records are held to the new time. */
  restartTime(t: number): void {
    this.#latestMs = t;
  }

  /**
   * Signs what was appended.
   *
   * @param wal How far the WALs were read for it.
   * @param between Called between steps that wait for the disk.
   * @returns The signed note, which is on the disk.
   * @throws What the disk reports. The old checkpoint stands then, and it can be tried again.
   */
  checkpoint(wal: Pick<Consumed, "doneBefore" | "positions">, between: () => void): string {
    const { files, signer } = this.#options;
    const { size } = this.#edge;
    const root = this.#edge.root();
    const partials = this.#putPartials();
    const consumed = { size, root: root.toString("hex"), latestMs: this.#latestMs, ...wal };
    files.put(consumedPath(size), encodeConsumed(consumed));
    files.settle(between);
    this.#spareRooms.give(this.#takenRooms);
    this.#takenRooms = [];
    for (const path of partials) this.#partials.add(path);
    const text = checkpointText({ origin: this.origin, size, root });
    const line = signCheckpoint(text, signer);
    const note = encodeCheckpoint(text, [line]);
    files.put(CHECKPOINT_PATH, Buffer.from(note, "utf8"));
    files.settle(between);
    this.#signedSize = size;
    this.#signed = { text, line };
    return note;
  }

  /**
   * Puts a witness's line beside ours, if the checkpoint that it is for is still the last one.
   *
   * @returns Whether it is.
   * @throws What the disk reports.
   */
  cosign(text: string, line: string, between: () => void): boolean {
    const signed = this.#signed;
    if (signed?.text !== text) return false;
    const note = encodeCheckpoint(text, [signed.line, line]);
    this.#options.files.put(CHECKPOINT_PATH, Buffer.from(note, "utf8"));
    this.#options.files.settle(between);
    return true;
  }

  /**
   * Removes files that only earlier checkpoints needed. May fail, and be left for the next time.
   */
  sweep(): void {
    const { files } = this.#options;
    files.sweep(CONSUMED_FOLDER, (name) => name !== String(this.#signedSize));
    const smallSpent = this.#index.takeSmallSpent();
    if (smallSpent > 0) files.sweep("index/small", (name) => Number(name) < smallSpent);
    for (const path of this.#filled) {
      files.sweep(`${path}.p`, () => true);
      this.#filled.delete(path);
      for (const partial of this.#partials) {
        if (partial.startsWith(`${path}.p/`)) this.#partials.delete(partial);
      }
    }
  }

  /** What a tile or bundle is needed for is that it is there: a full one is written once. */
  #putFull(path: string, bytes: Uint8Array): void {
    this.#options.files.put(path, bytes);
    this.#filled.add(path);
  }

  #putPartials(): string[] {
    const { files } = this.#options;
    const paths: string[] = [];
    const put = (path: string, bytes: Uint8Array): void => {
      paths.push(path);
      // Upper levels change rarely; what is on the disk already is not written again.
      if (!this.#partials.has(path)) files.put(path, bytes);
    };
    for (const { tile, bytes } of this.#edge.partials()) put(tilePath(tile), bytes);
    const { width, bytes } = this.#bundle;
    if (width === 0) return paths;
    put(bundlePath({ index: Math.floor(this.#edge.size / TILE_WIDTH), width }), bytes);
    return paths;
  }
}

export function consumedPath(size: number): string {
  return `${CONSUMED_FOLDER}/${size}`;
}
