// HOME, as the coordinator keeps it (0700; every file 0600):
//
//   trust.json         the mesh's name and the operator's public key: what nodes pin
//   operator.key       the operator's key; may be moved away once the mesh stands
//   keys/              coordinator.key, enrolment.key, witness.key and operations.key
//   coordinator/       LMDB: records, commands, acks, tokens, ledger, epoch
//   coordinator.json   this coordinator's name and public keys, for an operator to trust
//   coordinator.sock   gRPC
//   log/               the coordinator's own log: what it was asked to do
//   certificates.jsonl certificates that were issued under this HOME's authority

import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { readTrustFile } from "../adapters/trust-file.ts";
import type { TrustPin } from "../mesh/trust.ts";
import type { Keys, Signer } from "../ports/keys.ts";
import type { Random } from "../ports/random.ts";

/** HOME is not what a coordinator can start on. */
export class HomeFault extends Error {
  constructor(message: string, options?: { cause: unknown }) {
    super(message, options);
    this.name = "HomeFault";
  }
}

export type Founded = {
  readonly pin: TrustPin;
  /** Present while operator.key lies in HOME. */
  readonly operator: Signer | undefined;
};

export const trustPath = (home: string): string => join(home, "trust.json");
export const storePath = (home: string): string => join(home, "coordinator");
export const keysPath = (home: string): string => join(home, "keys");
export const identityPath = (home: string): string => join(home, "coordinator.json");
export const issuedPath = (home: string): string => join(home, "certificates.jsonl");
export const socketPath = (home: string): string => join(home, "coordinator.sock");

const OPERATOR_KEY = "operator";

/**
 * Reads who the mesh is, joins the one that is named, or begins a new one: its name, and the
 * operator's key. Whoever joins has no operator's key, and needs none.
 *
 * @param options.operatorKeys Keys in HOME itself.
 * @param options.trustFile trust.json of the mesh to join; must fit HOME's own where there is one.
 * @param options.mesh Name of a new mesh; drawn at random when absent. Must fit one that exists.
 * @throws HomeFault HOME belongs to another mesh, or has lost its trust.json.
 * @throws TrustFileFault Its trust.json cannot be read.
 */
export function foundMesh(options: {
  readonly home: string;
  readonly mesh: string | undefined;
  readonly trustFile?: string | undefined;
  readonly operatorKeys: Keys;
  readonly random: Random;
}): Founded {
  const { home, mesh, operatorKeys, random, trustFile } = options;
  const joined = trustFile === undefined ? undefined : readTrustFile(trustFile);
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const path = trustPath(home);
  if (!existsSync(path)) {
    // Its identity is written after trust.json; the operator's key, before.
    if (existsSync(storePath(home)) || existsSync(identityPath(home))) {
      throw new HomeFault(`${home} holds the state of a mesh but no trust.json: put it back`);
    }
    writeTrust(home, joined ?? newMesh(mesh, operatorKeys, random));
  }
  const pin = readTrustFile(path);
  if (mesh !== undefined && pin.mesh !== mesh) {
    throw new HomeFault(`${path} is of mesh ${pin.mesh}, not ${mesh}`);
  }
  if (joined && !isSamePin(joined, pin)) {
    throw new HomeFault(`${path} is not of the mesh of ${trustFile}`);
  }
  const operator = operatorKeys.load(OPERATOR_KEY);
  if (operator && Buffer.compare(operator.publicKey, pin.operatorPublicKey) !== 0) {
    throw new HomeFault(`operator.key in ${home} is not the one that trust.json pins`);
  }
  return { pin, operator };
}

function newMesh(mesh: string | undefined, operatorKeys: Keys, random: Random): TrustPin {
  const { publicKey } = operatorKeys.loadOrCreate(OPERATOR_KEY);
  const name = mesh ?? `mesh-${Buffer.from(random.bytes(6)).toString("hex")}`;
  return { mesh: name, operatorPublicKey: publicKey };
}

function isSamePin(left: TrustPin, right: TrustPin): boolean {
  const isSameKey = Buffer.compare(left.operatorPublicKey, right.operatorPublicKey) === 0;
  return left.mesh === right.mesh && isSameKey;
}

/** What an operator has to know of a coordinator to trust it. */
export type CoordinatorIdentity = {
  readonly replica: string;
  /** Raw Ed25519 public keys: of digests, kills and replies; of nodes' first records. */
  readonly coordinator: Uint8Array;
  readonly enrolment: Uint8Array;
};

/**
 * Writes down, in HOME, who this coordinator is. Nothing in it is secret.
 *
 * @param keys The coordinator's own; those that it is known by are made where they are missing.
 */
export function writeIdentity(home: string, replica: string, keys: Keys): void {
  const publicKey = (name: string): string =>
    Buffer.from(keys.loadOrCreate(name).publicKey).toString("hex");
  const text = JSON.stringify({
    replica,
    coordinator_public_key: publicKey("coordinator"),
    enrolment_public_key: publicKey("enrolment"),
  });
  writeWhole(home, identityPath(home), `${text}\n`);
}

/** Reads what `writeIdentity` wrote; undefined for anything else. */
export function readIdentity(text: string): CoordinatorIdentity | undefined {
  try {
    const read = JSON.parse(text) as Record<string, unknown>;
    const keyOf = (name: string): Uint8Array | undefined => {
      const hex = read[name];
      return typeof hex === "string" && /^[0-9a-f]{64}$/.test(hex)
        ? Buffer.from(hex, "hex")
        : undefined;
    };
    const { replica } = read;
    const coordinator = keyOf("coordinator_public_key");
    const enrolment = keyOf("enrolment_public_key");
    if (typeof replica !== "string" || !coordinator || !enrolment) return undefined;
    return { replica, coordinator, enrolment };
  } catch {
    return undefined;
  }
}

function writeTrust(home: string, pin: TrustPin): void {
  const key = Buffer.from(pin.operatorPublicKey).toString("hex");
  const text = JSON.stringify({ mesh: pin.mesh, operator_public_key: key });
  writeWhole(home, trustPath(home), `${text}\n`);
}

/** Appears whole or not at all. */
function writeWhole(home: string, path: string, text: string): void {
  const temporary = `${path}.new`;
  const file = openSync(temporary, "w", 0o600);
  writeSync(file, text);
  fsyncSync(file);
  closeSync(file);
  renameSync(temporary, path);
  const folder = openSync(home, "r");
  fsyncSync(folder);
  closeSync(folder);
}
