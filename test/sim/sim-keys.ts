import { createHash } from "node:crypto";
import type { Keys, Signer } from "../../ports/keys.ts";
import type { Draw } from "./draw.ts";

/**
 * Signatures that only their holder can make, within one world: a keyed hash that the world checks
 * with the key itself. A real one takes a hundred microseconds, of which a run has thousands; what real
 * ones are worth is shown elsewhere.
 */
export class SimKeys {
  readonly #secrets = new Map<string, Uint8Array>();
  readonly #draw: Draw;

  constructor(draw: Draw) {
    this.#draw = draw;
  }

  newSigner(): Signer {
    const secret = this.#draw.random().bytes(32);
    const publicKey = new Uint8Array(createHash("sha256").update(secret).digest());
    this.#secrets.set(hex(publicKey), secret);
    const kid = createHash("sha256").update(publicKey).digest("hex").slice(0, 16);
    return { kid, publicKey, sign: (bytes) => mark(secret, bytes) };
  }

  readonly verify: Keys["verify"] = (publicKey, bytes, signature) => {
    const secret = this.#secrets.get(hex(publicKey));
    return secret !== undefined && Buffer.compare(mark(secret, bytes), signature) === 0;
  };

  /** The keys of one machine's disk, which its crashes leave alone. */
  folder(): Keys {
    const signers = new Map<string, Signer>();
    return {
      load: (name) => signers.get(name),
      loadOrCreate: (name) => {
        const signer = signers.get(name) ?? this.newSigner();
        signers.set(name, signer);
        return signer;
      },
      verify: this.verify,
    };
  }
}

function mark(secret: Uint8Array, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha512").update(secret).update(bytes).digest());
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
