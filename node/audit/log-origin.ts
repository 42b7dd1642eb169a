import { join } from "node:path";
import {
  KEY_TYPES,
  type NoteSigner,
  type VerifierKey,
  verifierKey,
} from "../../audit/signed-note.ts";
import { strictDecimal } from "../../audit/strict-text.ts";
import type { Keys } from "../../ports/keys.ts";
import { EPOCHS_MAX } from "./epoch-end.ts";

/** Which log: one node's, from when it was opened until it is closed. */
export type LogName = {
  readonly mesh: string;
  readonly node: string;
  /** Counts a node's logs, from 1. Each has a key of its own. */
  readonly epoch: number;
};

const MESH = /^[a-z0-9]([a-z0-9.-]{0,253}[a-z0-9])?$/;
const NODE = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * The log's identity, which is also the name of its key.
 *
 * @throws RangeError The name is malformed: it must be fit for a note and for a path.
 */
export function logOrigin({ mesh, node, epoch }: LogName): string {
  if (!MESH.test(mesh) || mesh.includes("..")) throw new RangeError(`${mesh} is not a mesh`);
  if (!NODE.test(node)) throw new RangeError(`${node} is not a node`);
  if (!Number.isSafeInteger(epoch) || epoch < 1) throw new RangeError(`${epoch} is not an epoch`);
  return `${mesh}/${node}/e${epoch}`;
}

/** The epoch of a checkpoint's log; 0 where it is none that this node may have. */
export function epochOfNote(note: string, { mesh, node }: Omit<LogName, "epoch">): number {
  const [origin = ""] = note.split("\n", 1);
  const prefix = `${mesh}/${node}/e`;
  const epoch = origin.startsWith(prefix) ? strictDecimal(origin.slice(prefix.length)) : undefined;
  return epoch !== undefined && epoch <= EPOCHS_MAX ? epoch : 0;
}

/** Where a log's checkpoint and tiles lie. */
export function logFolder(home: string, name: LogName): string {
  return join(home, "log", logOrigin(name));
}

/** Where the WAL files of a node lie. */
export function walFolder(home: string): string {
  return join(home, "wal");
}

/** What a log's checkpoints are verified by; undefined when its key is not there. */
export function logKey(keys: Keys, name: LogName): VerifierKey | undefined {
  const signer = keys.load(`log-e${name.epoch}`);
  return signer && verifierKey(logOrigin(name), KEY_TYPES.log, signer.publicKey);
}

/** The log's own key, which signs nothing but its checkpoints. It is made when there is none. */
export function logSigner(keys: Keys, name: LogName): NoteSigner {
  const signer = keys.loadOrCreate(`log-e${name.epoch}`);
  const key = verifierKey(logOrigin(name), KEY_TYPES.log, signer.publicKey);
  return { key, sign: (message) => signer.sign(message) };
}
