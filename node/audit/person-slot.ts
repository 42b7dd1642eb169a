import { crc32c } from "../../audit/crc32c.ts";
import { PERSON_KEY_BYTES } from "../../audit/pseudonym.ts";

/** One place of the file of persons' keys. It lies within a sector of a disk, so it is written whole or not. */
export const SLOT_BYTES = 256;
/** Bytes of a person's name at most, as a contract may say it. */
export const PERSON_BYTES_MAX = 128;

/** A person under whose key records are made, or were. */
export type KeptPerson = {
  readonly state: "kept";
  readonly person: string;
  readonly key: Uint8Array;
  readonly pseudonym: string;
  /** ms since the Unix epoch. */
  readonly madeMs: number;
  /** From then on new records are made under another key, ms since the Unix epoch. */
  readonly untilMs: number;
};

/** What is left where a key was: nothing of the key, nor of the person. */
export type ErasedPerson = {
  readonly state: "erased";
  readonly pseudonym: string;
  readonly madeMs: number;
  readonly erasedMs: number;
  /** Who had it erased: an operator's key, or `age`. */
  readonly by: string;
  readonly reason: string;
  /** The log has a record of it. */
  readonly isTold: boolean;
};

export type PersonSlot = KeptPerson | ErasedPerson;

const STATES = { kept: 1, erased: 2, told: 3 } as const;
const AT = { state: 0, first: 1, second: 2, check: 4, made: 8, after: 16 } as const;
const PSEUDONYM_AT = 24;
const PSEUDONYM_BYTES = 32;
const KEY_AT = PSEUDONYM_AT + PSEUDONYM_BYTES;
const TEXT_AT = KEY_AT + PERSON_KEY_BYTES;

export function encodeSlot(slot: PersonSlot): Buffer {
  const bytes = Buffer.alloc(SLOT_BYTES);
  Buffer.from(slot.pseudonym, "base64url").copy(bytes, PSEUDONYM_AT, 0, PSEUDONYM_BYTES);
  bytes.writeBigUInt64BE(BigInt(slot.madeMs), AT.made);
  if (slot.state === "kept") {
    bytes[AT.state] = STATES.kept;
    bytes.writeBigUInt64BE(BigInt(slot.untilMs), AT.after);
    bytes.set(slot.key, KEY_AT);
    bytes[AT.first] = bytes.write(slot.person, TEXT_AT, PERSON_BYTES_MAX, "utf8");
  } else {
    bytes[AT.state] = slot.isTold ? STATES.told : STATES.erased;
    bytes.writeBigUInt64BE(BigInt(slot.erasedMs), AT.after);
    const by = bytes.write(slot.by, TEXT_AT, PERSON_BYTES_MAX / 2, "latin1");
    bytes[AT.first] = by;
    bytes[AT.second] = bytes.write(slot.reason, TEXT_AT + by, PERSON_BYTES_MAX / 2, "latin1");
  }
  bytes.writeUInt32BE(checkOf(bytes), AT.check);
  return bytes;
}

/** `free`: nothing was ever there. `damaged`: it is not what was written. */
export function decodeSlot(bytes: Buffer): PersonSlot | "free" | "damaged" {
  if (bytes.length !== SLOT_BYTES) return "damaged";
  if (bytes.every((byte) => byte === 0)) return "free";
  if (bytes.readUInt32BE(AT.check) !== checkOf(bytes)) return "damaged";
  const [first, second] = [bytes[AT.first] as number, bytes[AT.second] as number];
  const pseudonym = bytes.toString("base64url", PSEUDONYM_AT, KEY_AT);
  const madeMs = Number(bytes.readBigUInt64BE(AT.made));
  const then = Number(bytes.readBigUInt64BE(AT.after));
  const state = bytes[AT.state];
  if (state === STATES.kept) {
    const key = Buffer.from(bytes.subarray(KEY_AT, TEXT_AT));
    const person = bytes.toString("utf8", TEXT_AT, TEXT_AT + first);
    return { state: "kept", person, key, pseudonym, madeMs, untilMs: then };
  }
  if (state !== STATES.erased && state !== STATES.told) return "damaged";
  const by = bytes.toString("latin1", TEXT_AT, TEXT_AT + first);
  const reason = bytes.toString("latin1", TEXT_AT + first, TEXT_AT + first + second);
  const isTold = state === STATES.told;
  return { state: "erased", pseudonym, madeMs, erasedMs: then, by, reason, isTold };
}

/** Of all but the check itself. */
function checkOf(bytes: Buffer): number {
  const rest = Buffer.from(bytes);
  rest.fill(0, AT.check, AT.made);
  return crc32c(rest);
}
