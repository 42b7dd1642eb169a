/**
 * Signed notes: text, a blank line, signature lines; and the keys that sign them.
 *
 * One note has one spelling here. What other readers forgive (line ends of other systems, base64
 * that is not canonical) is refused, so that no two parties can read one note differently.
 *
 * @see https://c2sp.org/signed-note
 */

import { createHash, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { flawed, type Parsed, parsed } from "./parsed.ts";
import { strictBase64, strictUtf8 } from "./strict-text.ts";

/** Signature lines of one note, at most. */
export const SIGNATURES_MAX = 16;
/** Bytes of one note, at most. */
export const NOTE_BYTES_MAX = 64 * 1024;

/** What a key signs: the note itself (a log), or a cosignature with a time (a witness). */
export const KEY_TYPES = { log: 0x01, cosignature: 0x04 } as const;
export type KeyType = (typeof KEY_TYPES)[keyof typeof KEY_TYPES];

const KEY_BYTES = 32;
const KEY_ID_BYTES = 4;

/** A public key by which signatures are checked: an Ed25519 key with a name and a purpose. */
export type VerifierKey = {
  readonly name: string;
  readonly type: KeyType;
  /** Key id, u32. Short by design: a collision gives an attacker nothing but a failed check. */
  readonly id: number;
  readonly publicKey: Uint8Array;
};

/** A key that can sign, and how others check it. */
export type NoteSigner = {
  readonly key: VerifierKey;
  sign(message: Uint8Array): Uint8Array;
};

export type NoteSignature = {
  readonly name: string;
  readonly id: number;
  /** What follows the key id: for a log the signature, for a witness time and signature. */
  readonly bytes: Uint8Array;
};

export type Note = {
  /** What is signed: ends in a newline. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
};

export type NoteFlaw =
  | "note_too_large"
  | "note_not_utf8"
  | "note_control_character"
  | "note_no_signatures"
  | "note_too_many_signatures"
  | "note_signature_malformed";

/** Key id of an Ed25519 key: first four bytes of a hash over name, purpose and key. */
export function keyId(name: string, type: KeyType, publicKey: Uint8Array): number {
  const hash = createHash("sha256").update(`${name}\n`).update(Uint8Array.of(type));
  return hash.update(publicKey).digest().readUInt32BE(0);
}

/**
 * @throws RangeError The name cannot stand in a note, or the key is not 32 bytes long.
 */
export function verifierKey(name: string, type: KeyType, publicKey: Uint8Array): VerifierKey {
  if (!isKeyName(name)) throw new RangeError(`${JSON.stringify(name)} cannot name a key`);
  if (publicKey.length !== KEY_BYTES) throw new RangeError(`a key of ${publicKey.length} bytes`);
  return { name, type, id: keyId(name, type, publicKey), publicKey };
}

/**
 * A signer over a private Ed25519 key.
 *
 * @throws RangeError The key is not a private Ed25519 key.
 */
export function ed25519Signer(name: string, type: KeyType, privateKey: KeyObject): NoteSigner {
  if (privateKey.type !== "private" || privateKey.asymmetricKeyType !== "ed25519") {
    throw new RangeError("not a private Ed25519 key");
  }
  const { x } = createPublicKey(privateKey).export({ format: "jwk" });
  return {
    key: verifierKey(name, type, Buffer.from(x as string, "base64url")),
    sign: (message) => sign(null, message, privateKey),
  };
}

/** The key as `name+id+base64`. */
export function encodeVkey({ name, type, id, publicKey }: VerifierKey): string {
  const material = Buffer.concat([Uint8Array.of(type), publicKey]).toString("base64");
  return `${name}+${idHex(id)}+${material}`;
}

export type VkeyFlaw = "vkey_malformed" | "vkey_type_unknown" | "vkey_id_wrong";

/** Reads `name+id+base64`, and checks that the id is the one that the key has. */
export function parseVkey(text: string): Parsed<VerifierKey, VkeyFlaw> {
  // Base64 may itself hold a plus, so only the first two separate.
  const match = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/su.exec(text);
  const [, name, id, base64] = match ?? [];
  const material = base64 === undefined ? undefined : strictBase64(base64);
  if (name === undefined || !isKeyName(name) || material === undefined) {
    return flawed("vkey_malformed", "is not name+id+base64");
  }
  const type = Object.values(KEY_TYPES).find((known) => known === material[0]);
  if (type === undefined) return flawed("vkey_type_unknown", `type ${material[0]}`);
  const publicKey = material.subarray(1);
  if (publicKey.length !== KEY_BYTES) return flawed("vkey_malformed", "is not a 32-byte key");
  const key = verifierKey(name, type, publicKey);
  return idHex(key.id) === id ? parsed(key) : flawed("vkey_id_wrong", `should be ${idHex(key.id)}`);
}

/** A name is not empty and has no white space, plus, control or lone surrogate. */
export function isKeyName(name: string): boolean {
  return name.isWellFormed() && /^[^\p{White_Space}\p{Cc}+]+$/u.test(name);
}

/** One signature line with its newline. `bytes` is what follows the key id. */
export function signatureLine({ name, id }: VerifierKey, bytes: Uint8Array): string {
  const blob = Buffer.alloc(KEY_ID_BYTES + bytes.length);
  blob.writeUInt32BE(id, 0);
  blob.set(bytes, KEY_ID_BYTES);
  return `— ${name} ${blob.toString("base64")}\n`;
}

/**
 * Text, blank line, signature lines (as `signatureLine` gives them).
 *
 * @throws RangeError The result would not parse as this text with these signatures.
 */
export function encodeNote(text: string, lines: readonly string[]): string {
  const note = `${text}\n${lines.join("")}`;
  const back = parseNote(Buffer.from(note, "utf8"));
  if (!back.ok || back.value.text !== text || back.value.signatures.length !== lines.length) {
    throw new RangeError(`not a note: ${back.ok ? "other text" : back.detail}`);
  }
  return note;
}

/** Reads a note. Nothing of it is to be believed before `verifySignatures` has been asked. */
export function parseNote(bytes: Uint8Array): Parsed<Note, NoteFlaw> {
  if (bytes.length > NOTE_BYTES_MAX) return flawed("note_too_large", `${bytes.length} bytes`);
  const note = strictUtf8(bytes);
  if (note === undefined) return flawed("note_not_utf8", "invalid UTF-8");
  // A carriage return is one of these: a note with other line ends is another note.
  if (/\p{Cc}/u.test(note.replaceAll("\n", ""))) {
    return flawed("note_control_character", "a control character other than newline");
  }
  const blank = note.lastIndexOf("\n\n");
  const block = note.slice(blank + 2);
  if (blank < 0 || block === "" || !block.endsWith("\n")) {
    return flawed("note_no_signatures", "no signature lines after a blank line");
  }
  const lines = block.slice(0, -1).split("\n");
  if (lines.length > SIGNATURES_MAX) {
    return flawed("note_too_many_signatures", `${lines.length} signatures`);
  }
  const signatures: NoteSignature[] = [];
  for (const line of lines) {
    const signature = parseSignatureLine(line);
    if (signature === undefined) return flawed("note_signature_malformed", line.slice(0, 80));
    signatures.push(signature);
  }
  return parsed({ text: note.slice(0, blank + 1), signatures });
}

/** Reads one signature line without its newline; `undefined` when it is not one. */
export function parseSignatureLine(line: string): NoteSignature | undefined {
  const [dash, name, base64, ...rest] = line.split(" ");
  if (dash !== "—" || name === undefined || base64 === undefined || rest.length > 0) return;
  const blob = strictBase64(base64);
  if (!isKeyName(name) || blob === undefined || blob.length <= KEY_ID_BYTES) return;
  return { name, id: blob.readUInt32BE(0), bytes: blob.subarray(KEY_ID_BYTES) };
}

/**
 * Signatures of a note that claim to be by `key`. Others are another key's, even under its name.
 */
export function signaturesBy(note: Note, key: VerifierKey): NoteSignature[] {
  return note.signatures.filter(({ name, id }) => name === key.name && id === key.id);
}

/** Checks an Ed25519 signature over `message`. A signature of another length is a wrong one. */
export function verifyEd25519(
  key: VerifierKey,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const x = Buffer.from(key.publicKey).toString("base64url");
  const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  return verify(null, message, publicKey, signature);
}

function idHex(id: number): string {
  return id.toString(16).padStart(8, "0");
}
