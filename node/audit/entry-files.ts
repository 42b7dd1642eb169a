import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { AuditFault } from "../../audit/audit-fault.ts";
import { parseCheckpointText } from "../../audit/checkpoint.ts";
import { decodeRecord } from "../../audit/leaf.ts";
import { MINIMUM_PATH, minimumOf } from "../../audit/log-minimum.ts";
import { parseNote } from "../../audit/signed-note.ts";
import { bundlePath, CHECKPOINT_PATH, readBundle, TILE_WIDTH } from "../../audit/tiles.ts";

/** Entries of a log, a bundle at a time, as far as its checkpoint goes. */
export class EntryFiles {
  readonly #dir: string;
  readonly #size: number;
  /** Entries before it are no longer here. */
  readonly #minimum: number;

  /** A log without a checkpoint has no entries yet. */
  static async open(dir: string): Promise<EntryFiles> {
    const bytes = await fileAt(join(dir, CHECKPOINT_PATH));
    if (bytes === undefined) return new EntryFiles(dir, 0, 0);
    const note = parseNote(bytes);
    const checkpoint = note.ok ? parseCheckpointText(note.value.text) : note;
    if (!checkpoint.ok) throw new AuditFault(`${dir}: ${checkpoint.flaw}: ${checkpoint.detail}`);
    return new EntryFiles(dir, checkpoint.value.size, await minimumIn(dir));
  }

  private constructor(dir: string, size: number, minimum: number) {
    this.#dir = dir;
    this.#size = size;
    this.#minimum = minimum;
  }

  /** Bundles that hold entries of that time, oldest first. Times are taken to rise. */
  async *between(
    span: { readonly fromMs: number; readonly toMs: number },
    onBytes: (bytes: number) => void,
  ): AsyncGenerator<readonly Buffer[]> {
    for (let no = await this.#firstEndingAfter(span.fromMs); no < this.#bundles(); no++) {
      const bundle = await this.#read(no, onBytes);
      if (timeOf(bundle[0]) > span.toMs) return;
      yield bundle;
    }
  }

  /** Entries as far as the checkpoint goes. */
  get size(): number {
    return this.#size;
  }

  /** The bundles that hold these leaves, each once and in order. */
  async *holding(
    leaves: Iterable<number>,
    onBytes: (bytes: number) => void,
  ): AsyncGenerator<readonly Buffer[]> {
    const numbers = new Set<number>();
    for (const leaf of leaves) {
      if (leaf >= this.#minimum && leaf < this.#size) numbers.add(Math.floor(leaf / TILE_WIDTH));
    }
    for (const no of numbers) yield await this.#read(no, onBytes);
  }

  /** All bundles, newest first. */
  async *backwards(onBytes: (bytes: number) => void): AsyncGenerator<readonly Buffer[]> {
    for (let no = this.#bundles() - 1; no >= this.#first(); no--)
      yield await this.#read(no, onBytes);
  }

  async #firstEndingAfter(fromMs: number): Promise<number> {
    let [low, high] = [this.#first(), this.#bundles()];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const bundle = await this.#read(middle, () => undefined);
      if (timeOf(bundle.at(-1)) < fromMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #first(): number {
    return Math.floor(this.#minimum / TILE_WIDTH);
  }

  #bundles(): number {
    return Math.ceil(this.#size / TILE_WIDTH);
  }

  async #read(index: number, onBytes: (bytes: number) => void): Promise<readonly Buffer[]> {
    const width = Math.min(TILE_WIDTH, this.#size - index * TILE_WIDTH);
    const exact = bundlePath({ index, width });
    const full = bundlePath({ index, width: TILE_WIDTH });
    // A partial bundle may be gone once the log has grown past it.
    const partial = await fileAt(join(this.#dir, exact));
    const bytes = partial ?? (await fileAt(join(this.#dir, full)));
    onBytes(bytes?.length ?? 0);
    // It may have been removed in this moment.
    const isGone = bytes === undefined && index * TILE_WIDTH < (await minimumIn(this.#dir));
    if (isGone) return [];
    const path = partial === undefined ? full : exact;
    const reader = { read: (asked: string) => (asked === path ? bytes : undefined) };
    const entries = readBundle(reader, { index, width });
    if (!entries.ok) throw new AuditFault(`${exact}: ${entries.flaw}: ${entries.detail}`);
    return entries.value as Buffer[];
  }
}

async function minimumIn(dir: string): Promise<number> {
  const bytes = await fileAt(join(dir, MINIMUM_PATH));
  return minimumOf({ read: () => bytes });
}

async function fileAt(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new AuditFault(`${path} cannot be read`, { cause });
  }
}

function timeOf(entry: Uint8Array | undefined): number {
  const decoded = entry && decodeRecord(entry);
  return decoded?.ok ? decoded.record.t : 0;
}
