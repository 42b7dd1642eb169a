import assert from "node:assert/strict";
import type { Dialect } from "../../policy/compiled-policy.ts";
import type { DialAddress } from "./facts.ts";

/**
 * The one thing that may go upstream, whole: nothing can be added to it after the decision.
 *
 * The provider's credential is not in here. It is named, and put into the header at the moment of
 * writing, so that nothing that is logged or queued ever holds it.
 */
export type UpstreamRequest = {
  readonly requestId: string;
  /** Scheme, host, port. */
  readonly origin: string;
  readonly method: string;
  /** Path and query, built by the dialect; of plain HTTP the client's own. */
  readonly path: string;
  /** Flat name, value, name, value; names lower case, built from the dialect's allow-list. */
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  /** The credential as its file is named, and the header it goes into. Absent: none is put in. */
  readonly credential?: { readonly name: string; readonly dialect: Dialect };
  /** What the host resolved to when it was judged: no other address is dialled. Absent: a provider. */
  readonly addresses?: readonly DialAddress[];
};

/** A connection that may be made, and nothing be said on it but what the client says. */
export type UpstreamTunnel = {
  readonly requestId: string;
  readonly host: string;
  readonly port: number;
  /** What the name resolved to when it was judged: no other address is dialled. */
  readonly addresses: readonly DialAddress[];
};

/** What a permit can be for. */
export type Upstream = UpstreamRequest | UpstreamTunnel;

/** Last look at the cells, in the turn in which the head is written; false ends the request. */
export type LastLook = () => boolean;

/** Hands the record of what is allowed to the kernel, if that has it not yet; false: it could not be. */
export type HandOver = () => boolean;

let mayMint = false;

/**
 * The right to make one upstream request, or to open one tunnel, once.
 *
 * Minted by `commit` alone, after money is held and the log has the record, and good for nothing before the
 * kernel has that too. The constructor refuses everybody else at run time; the private member makes look-alikes
 * fail to compile.
 */
export class Permit<T extends Upstream = UpstreamRequest> {
  readonly request: T;
  readonly #lastLook: LastLook;
  readonly #handOver: HandOver;
  #isGood = true;

  constructor(request: T, lastLook: LastLook, handOver: HandOver) {
    assert(mayMint, "a permit is minted by commit alone");
    this.request = request;
    this.#lastLook = lastLook;
    this.#handOver = handOver;
  }

  /** Whether a connection may be opened for the request: the kernel has its record from here on. Uses nothing up. */
  mayConnect(): boolean {
    return this.#isGood && this.#handOver();
  }

  /**
   * Uses the permit up. True: write the head now, in this turn. False: the permit was used before,
   * an agent was killed since it was minted, or its record could not be written; nothing may be sent.
   */
  consume(): boolean {
    if (!(#isGood in this && this.#isGood)) return false;
    this.#isGood = false;
    return this.#handOver() && this.#lastLook();
  }

  /** Makes the permit useless. True: it had not been used, so nothing was sent and nothing will be. */
  revoke(): boolean {
    const isGood = this.#isGood;
    this.#isGood = false;
    return isGood;
  }
}

/** For `commit.ts`; a tidy test refuses every other importer. */
export function mintPermit<T extends Upstream>(
  request: T,
  lastLook: LastLook,
  handOver: HandOver,
): Permit<T> {
  mayMint = true;
  try {
    return new Permit(request, lastLook, handOver);
  } finally {
    mayMint = false;
  }
}
