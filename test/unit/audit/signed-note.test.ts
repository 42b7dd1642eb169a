import { generateKeyPairSync } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  ed25519Signer,
  encodeNote,
  encodeVkey,
  isKeyName,
  KEY_TYPES,
  NOTE_BYTES_MAX,
  parseNote,
  parseSignatureLine,
  parseVkey,
  SIGNATURES_MAX,
  signatureLine,
  signaturesBy,
  type VerifierKey,
  verifierKey,
  verifyEd25519,
} from "../../../audit/signed-note.ts";
import { LOG } from "./sample-log.ts";

function vkey(text: string): VerifierKey {
  const key = parseVkey(text);
  if (!key.ok) throw new Error(key.detail);
  return key.value;
}

function flawOf(note: string | Uint8Array): string {
  const result = parseNote(typeof note === "string" ? Buffer.from(note) : note);
  return result.ok ? "none" : result.flaw;
}

/** Published notes and the keys that sign them. */
const PUBLISHED = [
  {
    source: "https://c2sp.org/signed-note",
    key: "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    text: "This is an example message.\n",
    line: "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n",
  },
  {
    source: "https://pkg.go.dev/golang.org/x/mod/sumdb/note",
    key: "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    text: "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n",
    line: "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n",
  },
];

describe.each(PUBLISHED)("the note of $source", ({ key, text, line }) => {
  const bytes = Buffer.from(`${text}\n${line}`);

  test("verifies by its key, and the key is written as it was read", () => {
    const read = parseNote(bytes);
    if (!read.ok) throw new Error(read.detail);
    expect(read.value.text).toBe(text);
    const [signature, ...others] = signaturesBy(read.value, vkey(key));
    expect(others).toEqual([]);
    expect(verifyEd25519(vkey(key), Buffer.from(text), signature?.bytes as Uint8Array)).toBe(true);
    expect(encodeVkey(vkey(key))).toBe(key);
    expect(encodeNote(text, [line])).toBe(bytes.toString());
    expect(signatureLine(vkey(key), signature?.bytes as Uint8Array)).toBe(line);
  });

  test("does not verify with any bit of the text or signature changed", () => {
    const signature = parseSignatureLine(line.trimEnd())?.bytes as Uint8Array;
    for (let bit = 0; bit < 8 * signature.length; bit += 5) {
      const bent = Buffer.from(signature);
      bent[bit >> 3] = (bent[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(verifyEd25519(vkey(key), Buffer.from(text), bent), `bit ${bit}`).toBe(false);
    }
    expect(verifyEd25519(vkey(key), Buffer.from(`${text}\n`), signature)).toBe(false);
    expect(verifyEd25519(vkey(key), Buffer.from(text), signature.subarray(1))).toBe(false);
  });
});

test("a note's text may have empty lines: the last one separates", () => {
  const note = encodeNote("a\n\nb\n", [signatureLine(LOG.key, Buffer.from("x"))]);
  const read = parseNote(Buffer.from(note));
  expect(read.ok && read.value.text).toBe("a\n\nb\n");
});

describe("a note has one spelling", () => {
  const line = signatureLine(LOG.key, LOG.sign(Buffer.from("a\n")));
  const base64 = line.trimEnd().split(" ")[2] as string;
  const good = `a\n\n${line}`;
  const relined = (other: string) => good.replace(line, other);
  test("this one", () => expect(flawOf(good)).toBe("none"));
  test.each<[string, string | Uint8Array, string]>([
    ["line ends of another system", good.replaceAll("\n", "\r\n"), "note_control_character"],
    ["a tab", good.replace("a", "a\t"), "note_control_character"],
    ["a null", good.replace("a", "a\0"), "note_control_character"],
    ["no blank line", good.replace("\n\n", "\n"), "note_no_signatures"],
    ["no signatures", "a\n\n", "note_no_signatures"],
    ["no newline at the end", good.slice(0, -1), "note_no_signatures"],
    ["a blank line at the end", `${good}\n`, "note_no_signatures"],
    ["text after the signatures", `${good}b\n`, "note_signature_malformed"],
    ["a hyphen for the dash", relined(line.replace("—", "-")), "note_signature_malformed"],
    ["two spaces", relined(line.replace("— ", "—  ")), "note_signature_malformed"],
    ["a space at the end", relined(line.replace("\n", " \n")), "note_signature_malformed"],
    ["a name with a plus", relined(line.replace(LOG.key.name, "a+b")), "note_signature_malformed"],
    ["no name", relined(`—  ${base64}\n`), "note_signature_malformed"],
    ["no padding", relined(line.replace(/=+\n/, "\n")), "note_signature_malformed"],
    ["url-safe base64", relined(`— a ${"-_".repeat(4)}\n`), "note_signature_malformed"],
    ["bits set beyond the end", relined("— a AAAAAAB=\n"), "note_signature_malformed"],
    ["a key id and no signature", relined("— a AAAAAA==\n"), "note_signature_malformed"],
    ["invalid UTF-8", Buffer.concat([Buffer.from([0xff]), Buffer.from(good)]), "note_not_utf8"],
    [
      "one signature too many",
      `a\n\n${line.repeat(SIGNATURES_MAX + 1)}`,
      "note_too_many_signatures",
    ],
    ["too many bytes", `${"a".repeat(NOTE_BYTES_MAX)}${good}`, "note_too_large"],
    ["nothing", "", "note_no_signatures"],
  ])("not with %s", (_name, note, flaw) => {
    expect(flawOf(note)).toBe(flaw);
  });

  test("and room for as many signatures as the specification asks for", () => {
    expect(flawOf(`a\n\n${line.repeat(SIGNATURES_MAX)}`)).toBe("none");
  });

  test("and no other is written", () => {
    for (const text of ["a", "", "a\r\n", "a\ud800\n"]) {
      expect(() => encodeNote(text, [line]), text).toThrow(RangeError);
    }
    expect(() => encodeNote("a\n", [])).toThrow(RangeError);
    expect(() => encodeNote("a\n", [`${line}${line}`])).toThrow(RangeError);
  });
});

describe("keys", () => {
  const text = PUBLISHED[0]?.key as string;
  test.each([
    ["another id", text.replace("530d903a", "530d903b"), "vkey_id_wrong"],
    ["another name", text.replace("foo", "bar"), "vkey_id_wrong"],
    ["an id in upper case", text.replace("530d903a", "530D903A"), "vkey_malformed"],
    ["a short id", text.replace("530d903a", "530d903"), "vkey_malformed"],
    ["no name", text.slice(text.indexOf("+")), "vkey_malformed"],
    ["a name with a space", text.replace("example", "exa mple"), "vkey_malformed"],
    ["a newline at the end", `${text}\n`, "vkey_malformed"],
    ["base64 that is not canonical", `${text.slice(0, -1)}`, "vkey_malformed"],
    [
      "a type that is not known",
      "a+00000000+BukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
      "vkey_type_unknown",
    ],
    [
      "a key of another length",
      "a+00000000+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv",
      "vkey_malformed",
    ],
    ["nothing", "", "vkey_malformed"],
  ])("with %s are refused", (_name, vkeyText, flaw) => {
    expect(parseVkey(vkeyText)).toMatchObject({ ok: false, flaw });
  });

  test("may hold a plus in their base64", () => {
    const plus = "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6";
    expect(encodeVkey(vkey(plus))).toBe(plus);
  });

  test("of one name and key have another id for another purpose", () => {
    const { name, publicKey, id } = LOG.key;
    expect(verifierKey(name, KEY_TYPES.cosignature, publicKey).id).not.toBe(id);
    expect(verifierKey(name, KEY_TYPES.log, publicKey)).toEqual(LOG.key);
  });

  test("sign what verifies", () => {
    expect(verifyEd25519(LOG.key, Buffer.from("a"), LOG.sign(Buffer.from("a")))).toBe(true);
    expect(verifyEd25519(LOG.key, Buffer.from("b"), LOG.sign(Buffer.from("a")))).toBe(false);
  });

  test("that are not private Ed25519 keys make no signer", () => {
    const { privateKey } = generateKeyPairSync("ed448");
    const { publicKey } = generateKeyPairSync("ed25519");
    expect(() => ed25519Signer("a", KEY_TYPES.log, privateKey)).toThrow(RangeError);
    expect(() => ed25519Signer("a", KEY_TYPES.log, publicKey)).toThrow(RangeError);
    expect(() => verifierKey("a b", KEY_TYPES.log, Buffer.alloc(32))).toThrow(RangeError);
    expect(() => verifierKey("a", KEY_TYPES.log, Buffer.alloc(31))).toThrow(RangeError);
  });

  test.each(["", "a b", "a+b", "a\u00a0b", "a\u2003b", "a\nb", "a\ud800", "a\u0085"])(
    "cannot be named %j",
    (name) => expect(isKeyName(name)).toBe(false),
  );
});
