/** Links from one snapshot to the next, of a small ledger. */
const LINKS_APART = 1_024;
/** Parts of a snapshot up to which it is written as often as a smaller one. */
const PARTS_OFTEN = 64;
/** Bytes of links after which a snapshot is due, whatever their number. */
const BYTES_APART = 32 * 1024 * 1024;

/** When a journal's next snapshot is due. The larger the last one was, the later: nothing is lent meanwhile. */
export class SnapshotPace {
  readonly #linksApart: number;
  #parts = 1;
  #links = 0;
  #bytes = 0;

  /** @param linksApart Of a small ledger; default 1,024. */
  constructor(linksApart = LINKS_APART) {
    this.#linksApart = linksApart;
  }

  get isDue(): boolean {
    const links = this.#linksApart * Math.max(1, this.#parts / PARTS_OFTEN);
    return this.#links >= links || this.#bytes >= BYTES_APART;
  }

  wroteLink(bytes: number): void {
    this.#links += 1;
    this.#bytes += bytes;
  }

  wroteSnapshot(parts: number): void {
    this.#parts = parts;
    this.#links = 0;
    this.#bytes = 0;
  }
}
