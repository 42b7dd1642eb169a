// HOME, as the coordinator keeps it (0700; every file 0600):
//
//   trust.json         the mesh's name and the operator's public key: what nodes pin
//   operator.key       the operator's key; may be moved away once the mesh stands
//   keys/              coordinator.key and enrolment.key
//   coordinator/       LMDB: records, commands, acks, tokens, ledger, epoch
//   coordinator.sock   gRPC

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
export const socketPath = (home: string): string => join(home, "coordinator.sock");

const OPERATOR_KEY = "operator";

/**
 * Reads who the mesh is, or begins a new one: its name, and the operator's key.
 *
 * @param options.operatorKeys Keys in HOME itself.
 * @param options.mesh Name of a new mesh; drawn at random when absent. Must fit one that exists.
 * @throws HomeFault HOME belongs to another mesh, or has lost its trust.json.
 * @throws TrustFileFault Its trust.json cannot be read.
 */
export function foundMesh(options: {
  readonly home: string;
  readonly mesh: string | undefined;
  readonly operatorKeys: Keys;
  readonly random: Random;
}): Founded {
  const { home, mesh, operatorKeys, random } = options;
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const path = trustPath(home);
  if (!existsSync(path)) {
    if (existsSync(storePath(home))) {
      throw new HomeFault(`${home} holds the state of a mesh but no trust.json: put it back`);
    }
    const { publicKey } = operatorKeys.loadOrCreate(OPERATOR_KEY);
    const name = mesh ?? `mesh-${Buffer.from(random.bytes(6)).toString("hex")}`;
    writeTrust(home, { mesh: name, operatorPublicKey: publicKey });
  }
  const pin = readTrustFile(path);
  if (mesh !== undefined && pin.mesh !== mesh) {
    throw new HomeFault(`${path} is of mesh ${pin.mesh}, not ${mesh}`);
  }
  const operator = operatorKeys.load(OPERATOR_KEY);
  if (operator && Buffer.compare(operator.publicKey, pin.operatorPublicKey) !== 0) {
    throw new HomeFault(`operator.key in ${home} is not the one that trust.json pins`);
  }
  return { pin, operator };
}

/** Appears whole or not at all. */
function writeTrust(home: string, pin: TrustPin): void {
  const key = Buffer.from(pin.operatorPublicKey).toString("hex");
  const temporary = join(home, "trust.json.new");
  const file = openSync(temporary, "w", 0o600);
  writeSync(file, `${JSON.stringify({ mesh: pin.mesh, operator_public_key: key })}\n`);
  fsyncSync(file);
  closeSync(file);
  renameSync(temporary, trustPath(home));
  const folder = openSync(home, "r");
  fsyncSync(folder);
  closeSync(folder);
}
