import type { Replica } from "./replica.ts";

/** What one part of the coordinator needs of the policy in force, read once from each bundle. */
export class PolicyView<T> {
  readonly #replica: Replica;
  readonly #read: (bundle: Uint8Array) => T;
  #seen: { readonly hashHex: string; readonly value: T } | undefined;

  constructor(replica: Replica, read: (bundle: Uint8Array) => T) {
    this.#replica = replica;
    this.#read = read;
  }

  /** Undefined: there is no policy yet. */
  get now(): T | undefined {
    const policy = this.#replica.state.get("policy");
    if (policy?.op.case !== "policy") return undefined;
    const { hashHex, op } = policy;
    if (this.#seen?.hashHex !== hashHex) {
      this.#seen = { hashHex, value: this.#read(op.value.body) };
    }
    return this.#seen?.value;
  }
}
