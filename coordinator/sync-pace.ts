/** What a node may be told of the mesh's state, in records. */
export type SyncPaceLimits = {
  /** So often the whole state at once: a repair that begins anew, and one that was cut off in the middle. */
  readonly wholes: number;
  /** So many records beside it, for a mesh whose state is small. */
  readonly recordsMin: number;
};

/** A question costs at least as much: comparing sums and finding scopes is work where nothing is told. */
const QUESTION_RECORDS = 64;
/** Nodes that are counted at once; the one that asked longest ago is forgotten first. */
const NODES_MAX = 10_000;

export const SYNC_PACE: SyncPaceLimits = { wholes: 4, recordsMin: 16_384 };

/**
 * How much of the state each node is told, `sync_records_per_node`: the burst at once, and a quarter of it in
 * each minute. A node that lost its disk needs the whole once; one that was taken over and asks without end
 * must not keep this coordinator from its kills.
 */
export class SyncPace {
  readonly #limits: SyncPaceLimits;
  /** Records that each was told and has not earned back. */
  readonly #told = new Map<string, { records: number; atMs: number }>();

  constructor(limits: SyncPaceLimits = SYNC_PACE) {
    this.#limits = limits;
  }

  /** Whether a node may be told something now. @param size Records of the whole state. */
  mayAsk(node: string, size: number, nowMonoMs: number): boolean {
    return this.#owed(node, size, nowMonoMs) < this.#burst(size);
  }

  /** The node was told so many records. */
  note(node: string, records: number, of: { readonly size: number; readonly nowMs: number }): void {
    const owed = this.#owed(node, of.size, of.nowMs) + Math.max(QUESTION_RECORDS, records);
    this.#told.delete(node);
    this.#told.set(node, { records: owed, atMs: of.nowMs });
    if (this.#told.size > NODES_MAX) this.#told.delete(this.#told.keys().next().value as string);
  }

  #burst(size: number): number {
    return this.#limits.wholes * size + this.#limits.recordsMin;
  }

  #owed(node: string, size: number, nowMs: number): number {
    const told = this.#told.get(node);
    if (told === undefined) return 0;
    const earned = ((nowMs - told.atMs) / 60_000) * (this.#burst(size) / 4);
    return Math.max(0, told.records - earned);
  }
}
