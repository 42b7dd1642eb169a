import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { join } from "node:path";
import { kidOf } from "../mesh/kid-of.ts";
import type { Keys, Signer } from "../ports/keys.ts";
import { ed25519SignerOf, SEED_BYTES, verifyEd25519 } from "./ed25519.ts";
import { createPrivateFile, KeyFileFault, readPrivateFile } from "./private-file.ts";

const NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;

/**
 * Ed25519 keys in `<dir>/<name>.key`, PKCS#8 PEM, mode 0600 in a folder of mode 0700.
 *
 * @throws KeyFileFault From `load` and `loadOrCreate`: the file is not an Ed25519 key, others than
 *   its owner may read it, or it could not be written.
 */
export function fileKeys(dir: string): Keys {
  return {
    load: (name) => loadKey(pathOf(dir, name)),
    loadOrCreate: (name) => loadKey(pathOf(dir, name)) ?? createKey(dir, name),
    verify: verifyEd25519,
  };
}

/** A key that is kept nowhere, and is gone with whoever has it. */
export function passingSigner(): Signer {
  return signerOf(generateKeyPairSync("ed25519").privateKey);
}

function pathOf(dir: string, name: string): string {
  if (!NAME_PATTERN.test(name)) throw new KeyFileFault(`not a key's name: ${name}`);
  return join(dir, `${name}.key`);
}

function loadKey(path: string): Signer | undefined {
  const pem = readPrivateFile(path);
  if (pem === undefined) return undefined;
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: pem, format: "pem" });
  } catch (cause) {
    throw new KeyFileFault(`${path} is not a private key in PEM`, { cause });
  }
  if (key.asymmetricKeyType !== "ed25519") throw new KeyFileFault(`${path} is not an Ed25519 key`);
  return signerOf(key);
}

/** Two processes that race make one key. */
function createKey(dir: string, name: string): Signer {
  const path = pathOf(dir, name);
  const { privateKey } = generateKeyPairSync("ed25519");
  createPrivateFile(path, privateKey.export({ type: "pkcs8", format: "pem" }) as string);
  const signer = loadKey(path);
  if (!signer) throw new KeyFileFault(`${path} went away while it was made`);
  return signer;
}

function signerOf(key: KeyObject): Signer {
  const der = key.export({ type: "pkcs8", format: "der" });
  // Of PKCS#8 (RFC 8410, section 7) the last bytes: Node writes no attributes and no public key behind them.
  const signer = ed25519SignerOf(der.subarray(-SEED_BYTES));
  der.fill(0);
  return { kid: kidOf(signer.publicKey), ...signer };
}
