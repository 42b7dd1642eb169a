/**
 * The copy of one node's log on a coordinator's disk, in the files that the node itself has.
 *
 * C1. Entries are taken only where they go on from what is here and lead to a checkpoint that the
 *     log's key has signed. Tiles are made here, from the entries; none is taken from the node.
 * C2. `kept` counts what is on the disk: it never goes back, whatever crashes.
 * C3. `checkpoint` is there only together with every file that its size asks for, until the log is retired.
 * C4. A log that was retired still says that it is whole, and takes nothing more.
 */

import { AuditFault } from "../../audit/audit-fault.ts";
import { BundleBuilder } from "../../audit/bundle-builder.ts";
import type { OpenedCheckpoint } from "../../audit/checkpoint.ts";
import type { LogFiles } from "../../audit/log-files.ts";
import { leafHash, sameHash, verifyConsistency } from "../../audit/merkle.ts";
import { retiredOf } from "../../audit/retired-log.ts";
import { SpareRooms } from "../../audit/spare-rooms.ts";
import { strictDecimal } from "../../audit/strict-text.ts";
import { TileEdge, type TileFile } from "../../audit/tile-edge.ts";
import {
  bundlePath,
  CHECKPOINT_PATH,
  readBundle,
  readTile,
  TILE_WIDTH,
  tilePath,
} from "../../audit/tiles.ts";

/** Where the copy stands: size and root of what is on the disk. */
const PROGRESS_PATH = "archived";
const NOTHING = (): void => undefined;

export type Shipment = {
  /** Signed by the log's key. */
  readonly checkpoint: Pick<OpenedCheckpoint, "size" | "root" | "note">;
  /** The same as it came, with all its signatures. */
  readonly note: string;
  /** Place of the first entry. */
  readonly first: number;
  readonly entries: readonly Uint8Array[];
  readonly proof: readonly Uint8Array[];
};

export type Taken =
  | "taken"
  /** The entries go on from somewhere else. */
  | "elsewhere"
  /** They, or what is here already, are not the beginning of what the checkpoint signs. */
  | "inconsistent";

export class ArchivedLog {
  readonly #files: LogFiles;
  #edge: TileEdge;
  /** The bundle at the edge. */
  #bundle: BundleBuilder;
  readonly #rooms: SpareRooms;
  /** Of bundles that wait to be on the disk. */
  #takenRooms: Buffer[] = [];
  #kept: number;
  /** C4. Its records are gone: it is known where it ends, and nothing is added. */
  readonly #isRetired: boolean;
  /** The checkpoint on the disk, verbatim. */
  #published: string;
  /** One that covers exactly what is here, to be published. */
  #due: string | undefined;
  /** Full files whose partial ones can go. */
  readonly #filled = new Set<string>();
  /** Partial files that the last settle wrote. */
  #partials: ReadonlySet<string> = new Set();

  /**
   * Takes up a copy where it was left; an empty one where there is none.
   *
   * @param rooms For bundles of this copy and of others.
   * @throws AuditFault What is there is not what was written. Nothing may be added to it.
   */
  static open(files: LogFiles, rooms = new SpareRooms()): ArchivedLog {
    const progress = files.read(PROGRESS_PATH);
    if (progress === undefined) return new ArchivedLog(files, rooms, new TileEdge());
    const [size, root] = parseProgress(progress);
    const edge = TileEdge.restore(size, (tile) => readTile(files, tile));
    if (!edge.ok) throw new AuditFault(`the archive's tiles: ${edge.flaw}: ${edge.detail}`);
    if (edge.value.root().toString("hex") !== root) {
      throw new AuditFault("the archive's tiles do not have the root that was written");
    }
    const isRetired = retiredOf(files) !== undefined;
    const log = new ArchivedLog(files, rooms, edge.value, isRetired);
    if (!isRetired) for (const entry of entriesAtEdge(files, size)) log.#bundle.add(entry);
    return log;
  }

  private constructor(files: LogFiles, rooms: SpareRooms, edge: TileEdge, isRetired = false) {
    this.#isRetired = isRetired;
    this.#files = files;
    this.#rooms = rooms;
    this.#bundle = new BundleBuilder(rooms.take());
    this.#edge = edge;
    this.#kept = edge.size;
    this.#published = files.read(CHECKPOINT_PATH)?.toString("utf8") ?? "";
  }

  /** The entry that is taken next. */
  get next(): number {
    return this.#edge.size;
  }

  /** Entries before it are on the disk. */
  get kept(): number {
    return this.#kept;
  }

  /** The checkpoint on the disk, verbatim; empty: none yet. */
  get published(): string {
    return this.#published;
  }

  /** Bytes that wait for `settle`. */
  get waitingBytes(): number {
    return this.#files.waitingBytes;
  }

  /** Whether `settle` would complete a checkpoint. */
  get isDue(): boolean {
    return this.#due !== undefined;
  }

  /** The root that the log would have with these entries. */
  rootWith(entries: readonly Uint8Array[]): Buffer {
    const edge = this.#edge.clone();
    for (const entry of entries) edge.append(leafHash(entry));
    return edge.root();
  }

  /** Takes entries, in memory; nothing is changed unless all of them are. */
  take({ checkpoint, note, first, entries, proof }: Shipment): Taken {
    const { size, root } = checkpoint;
    if (first !== this.#edge.size || size < first + entries.length) return "elsewhere";
    if (this.#isRetired && size > this.#edge.size) return "inconsistent";
    const edge = this.#edge.clone();
    const full = entries.map((entry) => edge.append(leafHash(entry)));
    const claim = { oldSize: edge.size, oldRoot: edge.root(), newSize: size, newRoot: root, proof };
    if (!verifyConsistency(claim)) return "inconsistent";
    this.#edge = edge;
    for (const [i, entry] of entries.entries()) this.#add(entry, full[i] as readonly TileFile[]);
    // The same checkpoint again, as after an answer that was lost, is not written again. After a loss of power it may
    // be there before the word that its entries are, and then they are to be brought to the disk once more.
    const isNews = !this.#published.startsWith(`${checkpoint.note.text}\n`) || size > this.#kept;
    this.#due = edge.size === size && isNews ? note : undefined;
    return "taken";
  }

  /**
   * Brings what was taken to the disk: content before the word that it is there.
   *
   * @throws What the disk reports. What is in memory is then to be forgotten, and opened again.
   */
  settle(): void {
    const size = this.#edge.size;
    if (size === this.#kept && this.#due === undefined) return;
    const partials = this.#putPartials();
    this.#files.settle(NOTHING);
    this.#rooms.give(this.#takenRooms);
    this.#takenRooms = [];
    const root = this.#edge.root().toString("hex");
    this.#files.put(PROGRESS_PATH, Buffer.from(`${size}\n${root}\n`));
    if (this.#due !== undefined) this.#files.put(CHECKPOINT_PATH, Buffer.from(this.#due, "utf8"));
    this.#files.settle(NOTHING);
    this.#kept = size;
    if (this.#due !== undefined) {
      this.#published = this.#due;
      this.#due = undefined;
      this.#sweep();
    }
    this.#partials = partials;
  }

  #add(entry: Uint8Array, full: readonly TileFile[]): void {
    this.#bundle.add(entry);
    for (const { tile, bytes } of full) this.#putFull(tilePath(tile), bytes);
    if (!this.#bundle.isFull) return;
    // The tile of level 0 that is completed together with a bundle has its index.
    const { index } = (full[0] as TileFile).tile;
    const { bytes, room } = this.#bundle;
    this.#putFull(bundlePath({ index, width: TILE_WIDTH }), bytes);
    this.#takenRooms.push(room);
    this.#bundle = new BundleBuilder(this.#rooms.take());
  }

  #putFull(path: string, bytes: Uint8Array): void {
    this.#files.put(path, bytes);
    this.#filled.add(path);
  }

  #putPartials(): ReadonlySet<string> {
    const paths = new Set<string>();
    const put = (path: string, bytes: Uint8Array): void => {
      paths.add(path);
      if (!this.#partials.has(path)) this.#files.put(path, bytes);
    };
    for (const { tile, bytes } of this.#edge.partials()) put(tilePath(tile), bytes);
    const { width, bytes } = this.#bundle;
    const index = Math.floor(this.#edge.size / TILE_WIDTH);
    if (width > 0) put(bundlePath({ index, width }), bytes);
    return paths;
  }

  /** Removes partial files that full ones stand in for: a reader may still be at an earlier checkpoint. */
  #sweep(): void {
    for (const path of this.#filled) this.#files.sweep(`${path}.p`, () => true);
    this.#filled.clear();
  }
}

function parseProgress(bytes: Buffer): readonly [number, string] {
  const [size = "", root = "", end] = bytes.toString("latin1").split("\n");
  const count = strictDecimal(size);
  if (count === undefined || !/^[0-9a-f]{64}$/.test(root) || end !== "") {
    throw new AuditFault(`${PROGRESS_PATH} is not what was written`);
  }
  return [count, root];
}

function entriesAtEdge(files: LogFiles, size: number): Uint8Array[] {
  const width = size % TILE_WIDTH;
  if (width === 0) return [];
  const index = Math.floor(size / TILE_WIDTH);
  const entries = readBundle(files, { index, width });
  const tile = readTile(files, { level: 0, index, width });
  if (!entries.ok || tile === undefined)
    throw new AuditFault("the archive's last entries are gone");
  if (!sameHash(Buffer.concat(entries.value.map(leafHash)), tile)) {
    throw new AuditFault("the archive's last entries are not what was taken");
  }
  return entries.value;
}
