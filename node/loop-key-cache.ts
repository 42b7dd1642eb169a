import type { Reason } from "../proto/reasons.ts";
import type { RowGrant } from "./thread-messages.ts";

export type KeyAnswer = RowGrant | Reason;

/**
 * Answers about keys, by SHA-256 of the key, all of one key generation.
 *
 * Two halves instead of an order of use: what is asked for moves to the young half, and when that
 * is full the old half is dropped. So a hit costs one look-up, and what is used stays.
 */
export class LoopKeyCache {
  readonly #halfMax: number;
  #generation = 0;
  #young = new Map<string, KeyAnswer>();
  #old = new Map<string, KeyAnswer>();

  constructor({ entriesMax }: { readonly entriesMax: number }) {
    this.#halfMax = Math.max(1, Math.floor(entriesMax / 2));
  }

  /** The answer that was given under this very generation; another one empties the cache. */
  find(keySha256: string, generation: number): KeyAnswer | undefined {
    if (generation !== this.#generation) {
      this.#generation = generation;
      this.#young.clear();
      this.#old.clear();
      return undefined;
    }
    const young = this.#young.get(keySha256);
    if (young !== undefined) return young;
    const old = this.#old.get(keySha256);
    if (old !== undefined) this.put(keySha256, old, generation);
    return old;
  }

  /** Keeps an answer, unless keys have changed since it was given. */
  put(keySha256: string, answer: KeyAnswer, generation: number): void {
    if (generation !== this.#generation) return;
    if (this.#young.size >= this.#halfMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(keySha256, answer);
  }

  delete(keySha256: string): void {
    this.#young.delete(keySha256);
    this.#old.delete(keySha256);
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }
}
