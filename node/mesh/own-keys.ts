import type { Keys, Signer } from "../../ports/keys.ts";

/** Names of a node's keys in its folder: the first, and those that followed it. */
export function nodeKeyName(no: number): string {
  return no === 1 ? "node" : `node-${no}`;
}

/** A node's keys as they lie in its folder, from that number on. */
export function* nodeKeysFrom(keys: Pick<Keys, "load">, no: number): Generator<Signer> {
  for (let at = no; ; at += 1) {
    const key = keys.load(nodeKeyName(at));
    if (key === undefined) return;
    yield key;
  }
}

/**
 * The key that this node signs with: of those that lie on its disk the one that the mesh knows it by.
 *
 * Whoever holds this object signs with the next key from the turn on in which the mesh has taken it for the
 * node's, so an operator replaces a key while the node serves.
 */
export class OwnKeys implements Signer {
  readonly #keys: Keys;
  readonly #held: Signer[];
  #current: Signer;

  constructor(keys: Keys) {
    this.#keys = keys;
    const first = keys.loadOrCreate(nodeKeyName(1));
    this.#current = first;
    this.#held = [first];
    this.#loadFurther();
  }

  get kid(): string {
    return this.#current.kid;
  }

  get publicKey(): Uint8Array {
    return this.#current.publicKey;
  }

  sign(bytes: Uint8Array): Uint8Array {
    return this.#current.sign(bytes);
  }

  /** This node's key of that public half, in use or not. */
  of(publicKey: Uint8Array | undefined): Signer | undefined {
    if (publicKey === undefined) return undefined;
    return this.#held.find((one) => Buffer.compare(one.publicKey, publicKey) === 0);
  }

  /** Signs with the key that the mesh names from now on, where it is one of this node's. */
  use(publicKey: Uint8Array | undefined): void {
    if (publicKey === undefined) return;
    // It may have been made since this node started.
    if (this.of(publicKey) === undefined) this.#loadFurther();
    this.#current = this.of(publicKey) ?? this.#current;
  }

  #loadFurther(): void {
    for (const further of nodeKeysFrom(this.#keys, this.#held.length + 1)) {
      if (this.of(further.publicKey) !== undefined) return;
      this.#held.push(further);
    }
  }
}
