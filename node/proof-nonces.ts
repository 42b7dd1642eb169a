import { createHmac } from "node:crypto";

/** How long one nonce is given out, seconds. It is taken for as long again. */
export const NONCE_S = 32;

const NS_PER_EPOCH = BigInt(NONCE_S) * 1_000_000_000n;
const NONCE_BYTES = 16;

/** A stretch of this start's time, counted by the monotonic clock. */
export type Nonce = { readonly epoch: number; readonly nonce: string };

/**
 * The nonces that proofs of possession must bear (RFC 9449, section 8): of this node, of this start
 * and of this minute.
 *
 * They follow from a secret that is drawn at each start, so a proof that was made for another node
 * behind the same name, or for an earlier start of this one, is good here for nothing. Their age is told
 * by the monotonic clock alone: setting the wall clock back makes no proof good again. All loops of a node give
 * out the same ones.
 */
export class ProofNonces {
  readonly #secret: Uint8Array;
  #current: Nonce = { epoch: -1, nonce: "" };
  #previous: Nonce = { epoch: -1, nonce: "" };

  /** @param secret 32 random bytes, drawn at this start of the node. */
  constructor(secret: Uint8Array) {
    this.#secret = secret;
  }

  /** The one to give out now. @param nowNs Monotonic clock. */
  current(nowNs: bigint): Nonce {
    this.#roll(nowNs);
    return this.#current;
  }

  /** Those that are taken now, newest first. @param nowNs Monotonic clock. */
  good(nowNs: bigint): readonly Nonce[] {
    this.#roll(nowNs);
    return [this.#current, this.#previous];
  }

  #roll(nowNs: bigint): void {
    const epoch = Number(nowNs / NS_PER_EPOCH);
    if (epoch === this.#current.epoch) return;
    this.#current = this.#of(epoch);
    this.#previous = this.#of(epoch - 1);
  }

  #of(epoch: number): Nonce {
    const mac = createHmac("sha256", this.#secret).update(`altrace/v1/proof-nonce ${epoch}`);
    return { epoch, nonce: mac.digest().subarray(0, NONCE_BYTES).toString("base64url") };
  }
}
