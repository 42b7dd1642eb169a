import type { PolicyInHand } from "./policy-in-hand.ts";

/** What one part of the coordinator needs of the policy in hand, read once from each bundle. */
export class PolicyView<T> {
  readonly #of: Pick<PolicyInHand, "now">;
  readonly #read: (bundle: Uint8Array) => T;
  #seen: { readonly hashHex: string; readonly value: T } | undefined;

  constructor(of: Pick<PolicyInHand, "now">, read: (bundle: Uint8Array) => T) {
    this.#of = of;
    this.#read = read;
  }

  /** Undefined: there is no policy yet. */
  get now(): T | undefined {
    const policy = this.#of.now;
    if (policy === undefined) return undefined;
    const { hashHex, bundle } = policy;
    if (this.#seen?.hashHex !== hashHex) this.#seen = { hashHex, value: this.#read(bundle) };
    return this.#seen?.value;
  }
}
