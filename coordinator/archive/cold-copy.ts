import { AuditFault } from "../../audit/audit-fault.ts";
import type { EndedLog } from "../../audit/ended-log.ts";
import type { LogFiles } from "../../audit/log-files.ts";
import { consistencyProof, type SubtreeHash } from "../../audit/merkle.ts";
import { rememberedSubtrees } from "../../audit/remembered-subtrees.ts";
import { type Note, parseNote } from "../../audit/signed-note.ts";
import {
  bundlePath,
  readBundle,
  readTile,
  subtreesFromTiles,
  TILE_WIDTH,
  tilePath,
} from "../../audit/tiles.ts";
import { WITNESSED_PATH } from "../../audit/witnessed.ts";
import { ArchivedLog } from "./archived-log.ts";

/** Bytes that wait for the disk of the copy, at most. */
const WAITING_BYTES_MAX = 1024 * 1024;

/**
 * Copies a log that has ended to another disk, bundle by bundle. Each is shown to lead to the signed root before
 * it is written, so that what was copied whole is what was signed. After a crash it goes on where it was.
 */
export class ColdCopy {
  readonly #from: LogFiles;
  readonly #to: ArchivedLog;
  readonly #toFiles: LogFiles;
  /** Full bundles that another run has copied, and how many of them were found there. */
  readonly #before: number;
  #found = 0;
  readonly #ended: EndedLog;
  readonly #note: Note;
  readonly #subtrees: SubtreeHash;

  /** @throws AuditFault What is there already is not what was written. */
  constructor(ended: EndedLog, { from, to }: { readonly from: LogFiles; readonly to: LogFiles }) {
    const note = parseNote(Buffer.from(ended.checkpoint, "utf8"));
    if (!note.ok) throw new AuditFault(`the log's checkpoint: ${note.detail}`);
    this.#from = from;
    this.#to = ArchivedLog.open(to);
    this.#toFiles = to;
    this.#before = Math.floor(this.#to.next / TILE_WIDTH);
    this.#ended = ended;
    this.#note = note.value;
    this.#subtrees = rememberedSubtrees()(
      subtreesFromTiles(ended.size, (tile) => readTile(from, tile)),
    );
  }

  /**
   * Copies at most so many bundles.
   *
   * @returns Whether there is more to copy. Once there is not, all of it is on the disk.
   * @throws AuditFault What is here, or there, is not what was signed. Else what the disk reports.
   */
  turn(bundlesMax: number): boolean {
    const { size } = this.#ended;
    if (this.#found < this.#before) return this.#findAgain(bundlesMax);
    for (let i = 0; i < bundlesMax && this.#to.next < size; i++) this.#give(this.#entries());
    const isWhole = this.#to.next === size;
    // Without entries it is the word that all of them are there.
    if (isWhole) this.#give([]);
    if (isWhole || this.#to.waitingBytes > WAITING_BYTES_MAX) this.#to.settle();
    if (isWhole) this.#giveWitnessed();
    return !isWhole;
  }

  /** What an earlier run has copied is there still, or what is to be removed would be nowhere. */
  #findAgain(bundlesMax: number): true {
    const until = Math.min(this.#found + bundlesMax, this.#before);
    for (; this.#found < until; this.#found++) {
      const full = { index: this.#found, width: TILE_WIDTH };
      for (const path of [bundlePath(full), tilePath({ level: 0, ...full })]) {
        const [here, there] = [this.#from.read(path), this.#toFiles.read(path)];
        if (here === undefined || there === undefined || !here.equals(there)) {
          throw new AuditFault(`${path} of the copy is not what is here`);
        }
      }
    }
    return true;
  }

  /** What witnesses outside of the mesh have cosigned can be had from nobody again. */
  #giveWitnessed(): void {
    const witnessed = this.#from.read(WITNESSED_PATH);
    if (witnessed === undefined) return;
    this.#toFiles.put(WITNESSED_PATH, witnessed);
    this.#toFiles.settle(() => undefined);
  }

  #entries(): readonly Uint8Array[] {
    const { next } = this.#to;
    const index = Math.floor(next / TILE_WIDTH);
    const width = Math.min(TILE_WIDTH, this.#ended.size - index * TILE_WIDTH);
    const bundle = readBundle(this.#from, { index, width });
    if (!bundle.ok) throw new AuditFault(`the log's entries: ${bundle.flaw}: ${bundle.detail}`);
    return bundle.value.slice(next % TILE_WIDTH);
  }

  #give(entries: readonly Uint8Array[]): void {
    const { size, root, checkpoint } = this.#ended;
    const first = this.#to.next;
    const proof = consistencyProof(first + entries.length, size, this.#subtrees);
    const head = { size, root, note: this.#note };
    const taken = this.#to.take({ checkpoint: head, note: checkpoint, first, entries, proof });
    if (taken !== "taken") throw new AuditFault(`leaf ${first} does not lead to the signed root`);
  }
}
