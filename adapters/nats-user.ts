import { join } from "node:path";
import { nkeys } from "@nats-io/transport-node";
import { createPrivateFile, KeyFileFault, readPrivateFile } from "./private-file.ts";

/** A user of the NATS server, known there by its public key alone. */
export type NatsUser = {
  /** `U...`: what the server's configuration names. */
  readonly publicKey: string;
  /** `SU...`: what the connection proves to hold. */
  readonly seed: Uint8Array;
};

/**
 * The NATS user of whoever keeps its keys in that folder, in `nats.seed`; made when there is none.
 *
 * A server that asks nobody who they are takes it as well.
 *
 * @throws KeyFileFault It is no user's seed, others may read it, or it could not be written.
 */
export function natsUser(dir: string): NatsUser {
  return storedNatsUser(dir) ?? userOf(createSeed(seedPath(dir)), seedPath(dir));
}

/** The same; undefined when there is none. Changes nothing. */
export function storedNatsUser(dir: string): NatsUser | undefined {
  const stored = readPrivateFile(seedPath(dir));
  return stored && userOf(stored, seedPath(dir));
}

function seedPath(dir: string): string {
  return join(dir, "nats.seed");
}

function userOf(stored: Buffer, path: string): NatsUser {
  try {
    const seed = new Uint8Array(Buffer.from(stored.toString().trim()));
    const publicKey = nkeys.fromSeed(seed).getPublicKey();
    if (publicKey.startsWith("U")) return { publicKey, seed };
  } catch (cause) {
    throw new KeyFileFault(`${path} is not an nkey seed`, { cause });
  }
  throw new KeyFileFault(`${path} is not the seed of a user`);
}

function createSeed(path: string): Buffer {
  const seed = nkeys.createUser().getSeed();
  createPrivateFile(path, `${Buffer.from(seed).toString()}\n`);
  const stored = readPrivateFile(path);
  if (stored === undefined) throw new KeyFileFault(`${path} went away while it was made`);
  return stored;
}
