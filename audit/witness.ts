// What a witness says to a log: the tlog-witness protocol, without its transport.
//
// N1. Of each log a witness cosigns one line of checkpoints, each the beginning of the next.
// N2. The judgement is made from what is stored, and what is stored changes with it in one step: whoever
//     calls keeps `next` only if nothing was kept in between, and before the answer leaves.
// N3. A signed checkpoint that contradicts what was cosigned is kept as evidence and never cosigned.
// N4. What is kept of a checkpoint is its text and its log's signature. Whoever brings it may have put other
//     lines beside them: too many of them, or a wrong one in a witness's name, make a note that nobody reads.

import { type OpenedCheckpoint, openCheckpoint, parseCheckpointText } from "./checkpoint.ts";
import { emptyRoot, HASH_BYTES, PROOF_HASHES_MAX, sameHash, verifyConsistency } from "./merkle.ts";
import { flawed, type Parsed, parsed } from "./parsed.ts";
import {
  encodeNote,
  NOTE_BYTES_MAX,
  parseNote,
  signatureLine,
  signaturesBy,
  type VerifierKey,
} from "./signed-note.ts";
import { strictBase64, strictDecimal, strictUtf8 } from "./strict-text.ts";

/** Bytes of a request, at most: the largest proof and note. */
export const ADD_CHECKPOINT_BYTES_MAX = NOTE_BYTES_MAX + 64 * 64;

/** The body of `add-checkpoint`. */
export type AddCheckpoint = {
  /** Size up to which the log believes that the witness has seen it. */
  readonly oldSize: number;
  readonly proof: readonly Uint8Array[];
  /** The signed checkpoint, verbatim. */
  readonly checkpoint: string;
};

/** The newest checkpoint of a log that a witness has cosigned. */
export type Witnessed = {
  readonly size: number;
  readonly root: Uint8Array;
  /** The signed checkpoint, verbatim. */
  readonly checkpoint: string;
};

export type WitnessAnswer =
  /** Cosign `text`, once `next` is kept. */
  | { readonly status: 200; readonly text: string; readonly next: Witnessed }
  /** The log is elsewhere: the size that was cosigned last. */
  | { readonly status: 409; readonly size: number; readonly evidence?: Evidence }
  | {
      readonly status: 400 | 403 | 404 | 422;
      readonly detail: string;
      readonly evidence?: Evidence;
    };

/** Two checkpoints signed by one log that cannot both be true. */
export type Evidence = {
  readonly kind: "fork" | "inconsistent";
  readonly cosigned: string;
  readonly offered: string;
  readonly proof: readonly Uint8Array[];
};

export function encodeAddCheckpoint({ oldSize, proof, checkpoint }: AddCheckpoint): string {
  const hashes = proof.map((hash) => Buffer.from(hash).toString("base64"));
  return `${[`old ${oldSize}`, ...hashes].join("\n")}\n\n${checkpoint}`;
}

/** Reads a request. Its checkpoint is only looked at by `judgeCheckpoint`. */
export function parseAddCheckpoint(bytes: Uint8Array): Parsed<AddCheckpoint, "request_malformed"> {
  if (bytes.length > ADD_CHECKPOINT_BYTES_MAX) {
    return flawed("request_malformed", `${bytes.length} bytes`);
  }
  const text = strictUtf8(bytes);
  const blank = text?.indexOf("\n\n") ?? -1;
  if (text === undefined || blank < 0) return flawed("request_malformed", "no blank line");
  const [first = "", ...lines] = text.slice(0, blank).split("\n");
  const oldSize = first.startsWith("old ") ? strictDecimal(first.slice("old ".length)) : undefined;
  if (oldSize === undefined) return flawed("request_malformed", "the first line is not old <size>");
  const proof = lines.map(strictBase64).filter((hash) => hash?.length === HASH_BYTES) as Buffer[];
  if (proof.length !== lines.length || proof.length > PROOF_HASHES_MAX) {
    return flawed("request_malformed", `${lines.length} lines, ${proof.length} of them hashes`);
  }
  return parsed({ oldSize, proof, checkpoint: text.slice(blank + 2) });
}

/** The log that a request is about, by its own word; `undefined` when it says none. */
export function originOf({ checkpoint }: AddCheckpoint): string | undefined {
  const note = parseNote(Buffer.from(checkpoint, "utf8"));
  const text = note.ok ? parseCheckpointText(note.value.text) : undefined;
  return text?.ok ? text.value.origin : undefined;
}

/**
 * What a witness answers.
 *
 * @param keys Keys that it trusts for the checkpoint's origin; none: it does not know the log.
 * @param seen What it cosigned last of that origin.
 * @see https://c2sp.org/tlog-witness
 */
export function judgeCheckpoint(
  request: AddCheckpoint,
  keys: readonly VerifierKey[],
  seen: Witnessed | undefined,
): WitnessAnswer {
  if (keys.length === 0) return { status: 404, detail: "the log is not known" };
  const { opened, key } = openByAny(request.checkpoint, keys);
  if (!opened.ok) return { status: 403, detail: `${opened.flaw}: ${opened.detail}` };
  return judgeOpened({ ...request, checkpoint: onlyOwn(opened.value, key) }, opened.value, seen);
}

function judgeOpened(
  request: AddCheckpoint,
  opened: OpenedCheckpoint,
  seen: Witnessed | undefined,
): WitnessAnswer {
  const { size, root, note } = opened;
  const { oldSize, proof, checkpoint } = request;
  if (oldSize > size) return { status: 400, detail: `old ${oldSize} is above ${size}` };
  if (oldSize !== (seen?.size ?? 0)) return elsewhere(request, opened, seen);
  if (size === 0 && !sameHash(root, emptyRoot())) {
    return { status: 422, detail: "no tree without leaves has this root" };
  }
  if (seen === undefined || oldSize === 0) {
    if (proof.length > 0) return { status: 422, detail: "a proof from nothing" };
    return { status: 200, text: note.text, next: { size, root, checkpoint } };
  }
  if (size === oldSize && Buffer.compare(root, seen.root) !== 0) {
    const evidence = evidenceOf("fork", request, seen);
    return { status: 422, detail: "another root at this size", evidence };
  }
  const claim = { oldSize, oldRoot: seen.root, newSize: size, newRoot: root, proof };
  if (!verifyConsistency(claim)) {
    // A wrong proof proves nothing about the log: an honest one that made a mistake looks the same.
    const evidence = evidenceOf("inconsistent", request, seen);
    return { status: 422, detail: "the proof does not lead from old to new", evidence };
  }
  return { status: 200, text: note.text, next: { size, root, checkpoint } };
}

/** The log believes that the witness is elsewhere; its checkpoint may contradict what was seen. */
function elsewhere(
  request: AddCheckpoint,
  { size, root }: OpenedCheckpoint,
  seen: Witnessed | undefined,
): WitnessAnswer {
  const answer = { status: 409, size: seen?.size ?? 0 } as const;
  if (seen === undefined || size !== seen.size || Buffer.compare(root, seen.root) === 0) {
    return answer;
  }
  return { ...answer, evidence: evidenceOf("fork", request, seen) };
}

function evidenceOf(kind: Evidence["kind"], request: AddCheckpoint, seen: Witnessed): Evidence {
  const { checkpoint: offered, proof } = request;
  return { kind, cosigned: seen.checkpoint, offered, proof };
}

function openByAny(checkpoint: string, keys: readonly VerifierKey[]) {
  const bytes = Buffer.from(checkpoint, "utf8");
  const tries = keys.map((key) => ({ key, opened: openCheckpoint(bytes, key, []) }));
  return tries.find(({ opened }) => opened.ok) ?? (tries[0] as (typeof tries)[0]);
}

/** N4. The checkpoint with one signature by that key, which was checked, and no other. */
function onlyOwn({ note }: OpenedCheckpoint, key: VerifierKey): string {
  const [own] = signaturesBy(note, key);
  if (own === undefined) throw new Error("a checkpoint that was opened has its log's signature");
  return encodeNote(note.text, [signatureLine(key, own.bytes)]);
}
