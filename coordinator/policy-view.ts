import type { MeshState } from "../mesh/state.ts";

/** Whoever holds the mesh's state. */
type StateHolder = { readonly state: Pick<MeshState, "get"> };

/** What one part of the coordinator needs of the policy in force, read once from each bundle. */
export class PolicyView<T> {
  readonly #of: StateHolder;
  readonly #read: (bundle: Uint8Array) => T;
  #seen: { readonly hashHex: string; readonly value: T } | undefined;

  constructor(of: StateHolder, read: (bundle: Uint8Array) => T) {
    this.#of = of;
    this.#read = read;
  }

  /** Undefined: there is no policy yet. */
  get now(): T | undefined {
    const policy = this.#of.state.get("policy");
    if (policy?.op.case !== "policy") return undefined;
    const { hashHex, op } = policy;
    if (this.#seen?.hashHex !== hashHex) {
      this.#seen = { hashHex, value: this.#read(op.value.body) };
    }
    return this.#seen?.value;
  }
}
