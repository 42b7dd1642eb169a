/**
 * Checkpoints: a log's size and root as a note, signed by the log and cosigned by witnesses.
 *
 * Three lines, never more: an extension line would be signed but could be checked by nobody.
 *
 * @see https://c2sp.org/tlog-checkpoint
 * @see https://c2sp.org/tlog-cosignature
 */

import { HASH_BYTES } from "./merkle.ts";
import { flawed, type Parsed, parsed } from "./parsed.ts";
import {
  encodeNote,
  KEY_TYPES,
  type Note,
  type NoteFlaw,
  type NoteSignature,
  type NoteSigner,
  parseNote,
  signatureLine,
  signaturesBy,
  type VerifierKey,
  verifyEd25519,
} from "./signed-note.ts";
import { strictBase64, strictDecimal } from "./strict-text.ts";

export type Checkpoint = {
  /** Identity of the log: also the name of its key. */
  readonly origin: string;
  /** Leaves. */
  readonly size: number;
  readonly root: Uint8Array;
};

/** A witness's statement that it saw this checkpoint, and no other of its size, at that time. */
export type Cosignature = {
  readonly key: VerifierKey;
  /** Seconds since the Unix epoch. */
  readonly timeSeconds: number;
};

/** A checkpoint whose signatures have been checked. */
export type OpenedCheckpoint = Checkpoint & {
  readonly note: Note;
  /** One for each witness that was asked for and has signed, the latest it gave. */
  readonly cosignatures: readonly Cosignature[];
};

export type CheckpointFlaw =
  | NoteFlaw
  | "checkpoint_lines"
  | "checkpoint_origin"
  | "checkpoint_size"
  | "checkpoint_root"
  | "log_signature_missing"
  | "log_signature_wrong"
  | "cosignature_wrong";

const TIME_BYTES = 8;

/** The text that is signed. */
export function checkpointText({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${Buffer.from(root).toString("base64")}\n`;
}

/** Reads the text of a checkpoint: exactly origin, size, root. */
export function parseCheckpointText(text: string): Parsed<Checkpoint, CheckpointFlaw> {
  const lines = text.split("\n");
  const [origin, decimal, base64, end] = lines;
  if (lines.length !== 4 || end !== "") {
    return flawed("checkpoint_lines", `${lines.length - 1} lines`);
  }
  if (origin === undefined || origin === "") return flawed("checkpoint_origin", "is empty");
  const size = strictDecimal(decimal as string);
  if (size === undefined) return flawed("checkpoint_size", `${decimal}`);
  const root = strictBase64(base64 as string);
  if (root?.length !== HASH_BYTES) return flawed("checkpoint_root", `${base64}`);
  return parsed({ origin, size, root });
}

/** What a note says of its log, before anybody has checked its signatures. */
export function headOf(note: string): { readonly text: string; readonly size: number } | undefined {
  const parsedNote = parseNote(Buffer.from(note, "utf8"));
  const head = parsedNote.ok ? parseCheckpointText(parsedNote.value.text) : undefined;
  if (!parsedNote.ok || !head?.ok) return undefined;
  return { text: parsedNote.value.text, size: head.value.size };
}

/**
 * The log's signature line for a checkpoint text.
 *
 * Whoever calls this has synced every byte of that size: a signed size whose bytes are lost is a
 * fork as soon as the log grows again.
 *
 * @throws RangeError The signer is not a log's key.
 */
export function signCheckpoint(text: string, signer: NoteSigner): string {
  if (signer.key.type !== KEY_TYPES.log) throw new RangeError("not a log's key");
  return signatureLine(signer.key, signer.sign(Buffer.from(text, "utf8")));
}

/**
 * A witness's signature line for a checkpoint text.
 *
 * @param timeSeconds Now, in seconds since the Unix epoch. Integer, > 0.
 * @throws RangeError The signer is not a witness's key, or the time is not one.
 */
export function cosignCheckpoint(text: string, signer: NoteSigner, timeSeconds: number): string {
  if (signer.key.type !== KEY_TYPES.cosignature) throw new RangeError("not a witness's key");
  if (!Number.isSafeInteger(timeSeconds) || timeSeconds <= 0) {
    throw new RangeError(`${timeSeconds} is not a time`);
  }
  const signature = signer.sign(cosignedMessage(text, timeSeconds));
  const bytes = Buffer.alloc(TIME_BYTES + signature.length);
  bytes.writeBigUInt64BE(BigInt(timeSeconds), 0);
  bytes.set(signature, TIME_BYTES);
  return signatureLine(signer.key, bytes);
}

/** The checkpoint file: the note with the log's signature first and cosignatures after it. */
export function encodeCheckpoint(text: string, lines: readonly string[]): string {
  return encodeNote(text, lines);
}

/**
 * Reads a checkpoint and checks it: the log's signature must be there and right, and every
 * signature by a witness in `witnesses` must be right. Which of them suffice is the policy's
 * matter.
 *
 * A signature by a known key that is wrong refuses the whole note: it means that somebody moved it
 * here from another text. Signatures of unknown keys are ignored, as the specification demands.
 */
export function openCheckpoint(
  bytes: Uint8Array,
  logKey: VerifierKey,
  witnesses: readonly VerifierKey[],
): Parsed<OpenedCheckpoint, CheckpointFlaw> {
  const note = parseNote(bytes);
  if (!note.ok) return note;
  const checkpoint = parseCheckpointText(note.value.text);
  if (!checkpoint.ok) return checkpoint;
  // One key signs one log. Otherwise a checkpoint of another log could pass for one of this.
  if (checkpoint.value.origin !== logKey.name) {
    return flawed("checkpoint_origin", `${checkpoint.value.origin} instead of ${logKey.name}`);
  }
  const text = Buffer.from(note.value.text, "utf8");
  const own = signaturesBy(note.value, logKey);
  if (logKey.type !== KEY_TYPES.log || own.length === 0) {
    return flawed("log_signature_missing", `no signature by ${logKey.name}`);
  }
  // A key signs a text in one way. Lines that repeat it cost nothing, and of two that differ one is wrong.
  const [first, ...others] = own as [NoteSignature, ...NoteSignature[]];
  const isOne = others.every(({ bytes: other }) => Buffer.compare(other, first.bytes) === 0);
  if (!isOne || !verifyEd25519(logKey, text, first.bytes)) {
    return flawed("log_signature_wrong", `the signature by ${logKey.name} is wrong`);
  }
  const cosignatures: Cosignature[] = [];
  for (const key of witnesses) {
    const times = signaturesBy(note.value, key).map(({ bytes: signed }) =>
      cosignedAt(key, note.value.text, signed),
    );
    if (times.includes(undefined)) {
      return flawed("cosignature_wrong", `the cosignature by ${key.name} is wrong`);
    }
    if (times.length === 0) continue;
    cosignatures.push({ key, timeSeconds: Math.max(...(times as number[])) });
  }
  return parsed({ ...checkpoint.value, note: note.value, cosignatures });
}

/** The time that a cosignature states, if it is right. */
export function cosignedAt(key: VerifierKey, text: string, bytes: Uint8Array): number | undefined {
  if (key.type !== KEY_TYPES.cosignature || bytes.length <= TIME_BYTES) return undefined;
  const time = Number(Buffer.from(bytes).readBigUInt64BE(0));
  if (!Number.isSafeInteger(time) || time === 0) return undefined;
  const signature = bytes.subarray(TIME_BYTES);
  return verifyEd25519(key, cosignedMessage(text, time), signature) ? time : undefined;
}

function cosignedMessage(text: string, timeSeconds: number): Buffer {
  return Buffer.from(`cosignature/v1\ntime ${timeSeconds}\n${text}`, "utf8");
}
