import type { MeshRecord } from "../mesh/record.ts";

type Place = { readonly seq: number; readonly record?: MeshRecord };
type Newest = { readonly seq: number; readonly record: MeshRecord };

/**
 * What the control stream is known to hold: each scope's newest message, and where it stands. Of the stream of
 * revoked contracts, only how far it was read.
 */
export class StreamView {
  /** Without a record where the message is none that counts. */
  readonly #places = new Map<string, Place>();

  /** Kept, since the leader is asked for it every second; undefined while it has to be looked for. */
  #newest: Newest | undefined;
  #revokedSeq = 0;

  /** Up to where the stream of revoked contracts was merged whole. */
  get revokedSeq(): number {
    return this.#revokedSeq;
  }

  /** That one was read up to there. */
  readRevoked(seq: number): void {
    this.#revokedSeq = seq;
  }

  /** The copy came of what stands there in that one. */
  heardRevoked(seq: number): void {
    if (seq === this.#revokedSeq + 1) this.#revokedSeq = seq;
  }

  /** Sequence of the scope's newest message; 0 when none is known. */
  seqOf(scope: string): number {
    return this.#places.get(scope)?.seq ?? 0;
  }

  recordOf(scope: string): MeshRecord | undefined {
    return this.#places.get(scope)?.record;
  }

  /** Whether the stream is known to hold this very record. */
  holds(record: MeshRecord): boolean {
    return this.recordOf(record.scope)?.hashHex === record.hashHex;
  }

  /**
   * Remembers where the leader said a record stands, whatever was known before: a stream that was rolled
   * back numbers anew. Revoked contracts have a stream of their own.
   */
  note(record: MeshRecord, seq: number): void {
    if (record.parsed.kind === "contract") return;
    if (this.#newest !== undefined && seq > this.#newest.seq) this.#newest = { seq, record };
    else this.#leave(record.scope);
    this.#places.set(record.scope, { seq, record });
  }

  /** The leader's last message of a scope is no record: only its sequence counts. */
  noteSeq(scope: string, seq: number): void {
    this.#leave(scope);
    this.#places.set(scope, { seq });
  }

  /** The leader has no message of that scope. */
  forget(scope: string): void {
    this.#leave(scope);
    this.#places.delete(scope);
  }

  clear(): void {
    this.#places.clear();
    this.#newest = undefined;
  }

  /** The record with the highest sequence. */
  newest(): Newest | undefined {
    this.#newest ??= this.#lookForNewest();
    return this.#newest;
  }

  /** The scope's message is another from here on. */
  #leave(scope: string): void {
    if (this.#newest?.record.scope === scope) this.#newest = undefined;
  }

  #lookForNewest(): Newest | undefined {
    let newest: Newest | undefined;
    for (const { record, seq } of this.#places.values()) {
      if (record && seq > (newest?.seq ?? 0)) newest = { record, seq };
    }
    return newest;
  }
}
