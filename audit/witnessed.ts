/**
 * The newest checkpoint of a log that witnesses from outside of the mesh have cosigned, beside the newest of all:
 * they are asked now and then, and what has grown meanwhile has a checkpoint without them.
 */

import { type CheckpointFlaw, type OpenedCheckpoint, openCheckpoint } from "./checkpoint.ts";
import { hasQuorum, type LogPolicy } from "./log-policy.ts";
import { flawed, type Parsed, parsed } from "./parsed.ts";
import type { VerifierKey } from "./signed-note.ts";

/** A signed note, as `checkpoint` is one. Of a log that nobody brings to witnesses there is none. */
export const WITNESSED_PATH = "witnessed";

/** How far a log has been witnessed. */
export type WitnessedHead = Pick<OpenedCheckpoint, "size" | "root" | "cosignatures"> & {
  /** Latest of their times, seconds since the Unix epoch; absent: no witness of the policy has signed. */
  readonly timeSeconds?: number;
};

export type HeadsRead = {
  /** The log's own checkpoint. */
  readonly checkpoint: OpenedCheckpoint;
  /** What lies beside it; absent where there is nothing. */
  readonly beside?: WitnessedHead;
  /** The newest of both that the policy's quorum has cosigned; absent: neither. */
  readonly quorum?: WitnessedHead;
};

/**
 * Reads the two. The witnessed one must have been read first: in a log that grows it is never the newer.
 *
 * @param bytes.witnessed Absent: there is none.
 */
export function readHeads(
  bytes: { readonly checkpoint: Uint8Array; readonly witnessed?: Uint8Array | undefined },
  logKey: VerifierKey,
  policy: LogPolicy | undefined,
): Parsed<HeadsRead, CheckpointFlaw> {
  const witnesses = policy?.witnesses ?? [];
  const checkpoint = openCheckpoint(bytes.checkpoint, logKey, witnesses);
  if (!checkpoint.ok) return checkpoint;
  const beside = bytes.witnessed && openCheckpoint(bytes.witnessed, logKey, witnesses);
  if (beside?.ok === false) return flawed(beside.flaw, `${WITNESSED_PATH}: ${beside.detail}`);
  const heads = [checkpoint.value, ...(beside ? [beside.value] : [])].map(headOf);
  const met = heads.find(
    ({ cosignatures }) =>
      policy !== undefined &&
      hasQuorum(
        policy,
        cosignatures.map(({ key }) => key),
      ),
  );
  return parsed({
    checkpoint: checkpoint.value,
    ...(heads[1] && { beside: heads[1] }),
    ...(met && { quorum: met }),
  });
}

function headOf({ size, root, cosignatures }: OpenedCheckpoint): WitnessedHead {
  const times = cosignatures.map(({ timeSeconds }) => timeSeconds);
  const head = { size, root, cosignatures };
  return times.length === 0 ? head : { ...head, timeSeconds: Math.max(...times) };
}
