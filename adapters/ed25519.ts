import { createRequire } from "node:module";
import type { Keys, Signer } from "../ports/keys.ts";

// Ed25519 by libsodium (ADR 58): node:crypto takes twice as long over a signature's check, hot or cold.

/** Bytes of RFC 8032, section 5.1. */
const PUBLIC_KEY_BYTES = 32;
export const SEED_BYTES = 32;
const SIGNATURE_BYTES = 64;
/** Of the C library that the binaries for Linux were made with. */
const GLIBC_MIN = "2.33";

/** Checks one signature. */
export const verifyEd25519: Keys["verify"] = (publicKey, bytes, signature) => {
  // The library reads as far as the lengths below say, whatever is there.
  if (publicKey.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  const [key, message, sig] = [owned(publicKey), owned(bytes), owned(signature)];
  return sodium.crypto_sign_verify_detached(
    sig.buffer,
    sig.byteOffset,
    sig.byteLength,
    message.buffer,
    message.byteOffset,
    message.byteLength,
    key.buffer,
    key.byteOffset,
    key.byteLength,
  );
};

/**
 * Signs with the key of a private seed, 32 bytes, which is copied.
 *
 * @throws RangeError The seed has another length.
 */
export function ed25519SignerOf(seed: Uint8Array): Pick<Signer, "publicKey" | "sign"> {
  if (seed.length !== SEED_BYTES) throw new RangeError(`a seed of ${seed.length} bytes`);
  const publicKey = new Uint8Array(PUBLIC_KEY_BYTES);
  const secretKey = new Uint8Array(SEED_BYTES + PUBLIC_KEY_BYTES);
  mustBeDone(sodium.crypto_sign_seed_keypair(publicKey, secretKey, owned(seed)));
  return {
    publicKey,
    sign: (bytes) => {
      const signature = new Uint8Array(SIGNATURE_BYTES);
      mustBeDone(sodium.crypto_sign_detached(signature, owned(bytes), secretKey));
      return signature;
    },
  };
}

type Owned = Uint8Array<ArrayBuffer>;

/**
 * Not memory that threads share: a message is read twice while it is signed, and whoever has two signatures by one
 * nonce of what lay there before and after has the key.
 */
function owned(bytes: Uint8Array): Owned {
  return bytes.buffer instanceof ArrayBuffer ? (bytes as Owned) : new Uint8Array(bytes);
}

function mustBeDone(status: number): void {
  if (status !== 0) throw new Error(`libsodium says ${status}`);
}

/** Of sodium-native 5 as it is in C. A status is 0 for success. */
type Sodium = {
  crypto_sign_seed_keypair(publicKey: Owned, secretKey: Owned, seed: Owned): number;
  crypto_sign_detached(signature: Owned, message: Owned, secretKey: Owned): number;
  /** Of signature, message and public key each: memory, where it begins there, length. */
  crypto_sign_verify_detached(
    signature: ArrayBuffer,
    signatureAt: number,
    signatureBytes: number,
    message: ArrayBuffer,
    messageAt: number,
    messageBytes: number,
    publicKey: ArrayBuffer,
    publicKeyAt: number,
    publicKeyBytes: number,
  ): boolean;
};

const sodium = load();

/**
 * The package's own module looks for this file on behalf of several runtimes: 45 ms of processor and 10 MB for each
 * thread, where the file alone takes a tenth of the one and half of the other.
 *
 * @throws Error There is none for this platform, or its C library is too old for it.
 */
function load(): Sodium {
  const { platform, arch } = process;
  const require = createRequire(import.meta.url);
  try {
    return require(`sodium-native/prebuilds/${platform}-${arch}/sodium-native.node`);
  } catch (cause) {
    const what = `sodium-native has no binary that runs here: ${platform}-${arch}`;
    throw new Error(`${what}; on Linux it takes x64 or arm64 and glibc ${GLIBC_MIN}`, { cause });
  }
}
