import { describe, expect, test } from "vitest";
import {
  checkpointText,
  cosignCheckpoint,
  cosignedAt,
  encodeCheckpoint,
  openCheckpoint,
  parseCheckpointText,
  signCheckpoint,
} from "../../../audit/checkpoint.ts";
import {
  KEY_TYPES,
  parseSignatureLine,
  signatureLine,
  verifierKey,
} from "../../../audit/signed-note.ts";
import { IMPOSTOR, LOG, ORIGIN, STRANGER, signerOf, WITNESS } from "./sample-log.ts";

const ROOT = Buffer.from("jl4BVDrC6LvZ3pajx+EMQSI2DMqNPdSMdVuXBZY6jWM=", "base64");
const TIME = 1_790_000_000;
const TEXT = checkpointText({ origin: ORIGIN, size: 70_000, root: ROOT });
const SIGNED = signCheckpoint(TEXT, LOG);
const COSIGNED = cosignCheckpoint(TEXT, WITNESS, TIME);
const GOOD = encodeCheckpoint(TEXT, [SIGNED, COSIGNED]);

function open(note: string, witnesses = [WITNESS.key]) {
  return openCheckpoint(Buffer.from(note), LOG.key, witnesses);
}

function flawOf(note: string): string {
  const result = open(note);
  return result.ok ? "none" : result.flaw;
}

test("a checkpoint is three lines, a blank line and signatures", () => {
  expect(TEXT).toBe(`${ORIGIN}\n70000\njl4BVDrC6LvZ3pajx+EMQSI2DMqNPdSMdVuXBZY6jWM=\n`);
  expect(GOOD).toBe(`${TEXT}\n${SIGNED}${COSIGNED}`);
  expect(SIGNED).toMatch(new RegExp(`^— ${ORIGIN} [A-Za-z0-9+/]{91}=\n$`));
});

test("a good checkpoint opens with its witnesses and their times", () => {
  const opened = open(GOOD);
  expect(opened.ok && opened.value).toMatchObject({ origin: ORIGIN, size: 70_000, root: ROOT });
  expect(opened.ok && opened.value.cosignatures).toEqual([{ key: WITNESS.key, timeSeconds: TIME }]);
});

test("signing is deterministic, so a checkpoint that is written again is the same", () => {
  expect(signCheckpoint(TEXT, LOG)).toBe(SIGNED);
});

describe("the text has one spelling", () => {
  const base64 = ROOT.toString("base64");
  test.each([
    ["an extension line", `${TEXT}extra\n`, "checkpoint_lines"],
    ["an extra blank line", `${TEXT}\n`, "checkpoint_lines"],
    ["no final newline", TEXT.slice(0, -1), "checkpoint_lines"],
    ["no origin", TEXT.slice(ORIGIN.length), "checkpoint_origin"],
    ["a leading zero", TEXT.replace("70000", "070000"), "checkpoint_size"],
    ["a sign", TEXT.replace("70000", "+70000"), "checkpoint_size"],
    ["an exponent", TEXT.replace("70000", "7e4"), "checkpoint_size"],
    ["a space", TEXT.replace("70000", "70000 "), "checkpoint_size"],
    ["no size", TEXT.replace("70000", ""), "checkpoint_size"],
    ["a size beyond safe integers", TEXT.replace("70000", "9007199254740992"), "checkpoint_size"],
    ["a root without padding", TEXT.replace("M=", "M"), "checkpoint_root"],
    ["a root with bits beyond its end", TEXT.replace("M=", "N="), "checkpoint_root"],
    ["a short root", TEXT.replace(base64, "AAAA"), "checkpoint_root"],
    ["a carriage return", TEXT.replaceAll("\n", "\r\n"), "checkpoint_size"],
  ])("not with %s", (_name, text, flaw) => {
    expect(parseCheckpointText(text)).toMatchObject({ ok: false, flaw });
  });

  test("a size of zero has no leading zero", () => {
    const parsed = parseCheckpointText(TEXT.replace("70000", "0"));
    expect(parsed.ok && parsed.value.size).toBe(0);
  });
});

const WRONG = signatureLine(LOG.key, Buffer.alloc(64));

describe("what the log must have signed", () => {
  test.each([
    ["repeated as often as a note may be signed", SIGNED.repeat(16), true, 1],
    ["and a wrong one, sooner or later", SIGNED.repeat(15) + WRONG, false, 0],
    ["and a wrong one first", WRONG + SIGNED.repeat(15), false, 0],
    ["nothing but wrong", WRONG.repeat(16), false, 1],
  ])("its signature, %s, is looked at once", (_name, lines, ok, checks) => {
    let looked = 0;
    const counted = {
      ...LOG.key,
      get publicKey() {
        looked += 1;
        return LOG.key.publicKey;
      },
    };
    expect(openCheckpoint(Buffer.from(`${TEXT}\n${lines}`), counted, []).ok).toBe(ok);
    expect(looked).toBe(checks);
  });

  test.each([
    ["the size edited", GOOD.replace("\n70000\n", "\n70001\n"), "log_signature_wrong"],
    ["the root edited", GOOD.replace("jl4B", "jl4C"), "log_signature_wrong"],
    ["the origin edited", GOOD.replace("e3\n", "e4\n"), "checkpoint_origin"],
    ["no signature by the log", `${TEXT}\n${COSIGNED}`, "log_signature_missing"],
    [
      "a signature by another key of its name",
      `${TEXT}\n${signCheckpoint(TEXT, IMPOSTOR)}`,
      "log_signature_missing",
    ],
    [
      "another key's signature under its key id",
      `${TEXT}\n${signatureLine(LOG.key, IMPOSTOR.sign(Buffer.from(TEXT)))}`,
      "log_signature_wrong",
    ],
    [
      "its own signature under another name",
      `${TEXT}\n${SIGNED.replace(ORIGIN, "other.example/e1")}`,
      "log_signature_missing",
    ],
    [
      "a right and a wrong signature",
      `${TEXT}\n${SIGNED}${signatureLine(LOG.key, Buffer.alloc(64))}`,
      "log_signature_wrong",
    ],
    ["line ends of another system", GOOD.replaceAll("\n", "\r\n"), "note_control_character"],
    ["an extra blank line", GOOD.replace("\n\n", "\n\n\n"), "checkpoint_lines"],
    ["no signature at all", `${TEXT}\n`, "note_no_signatures"],
  ])("%s is refused", (_name, note, flaw) => {
    expect(flawOf(note)).toBe(flaw);
  });

  test("the signed text has no blank line in it", () => {
    const blank = signatureLine(LOG.key, LOG.sign(Buffer.from(`${TEXT}\n`)));
    expect(flawOf(`${TEXT}\n${blank}`)).toBe("log_signature_wrong");
  });

  test("a log's key is no witness's, and the reverse", () => {
    const posing = verifierKey(ORIGIN, KEY_TYPES.cosignature, LOG.key.publicKey);
    const line = signatureLine(posing, LOG.sign(Buffer.from(TEXT)));
    expect(openCheckpoint(Buffer.from(`${TEXT}\n${line}`), posing, [])).toMatchObject({
      flaw: "log_signature_missing",
    });
    expect(() => signCheckpoint(TEXT, WITNESS)).toThrow(RangeError);
    expect(() => cosignCheckpoint(TEXT, LOG, TIME)).toThrow(RangeError);
  });
});

describe("what witnesses must have signed", () => {
  const bytes = parseSignatureLine(COSIGNED.trimEnd())?.bytes as Uint8Array;
  const withWitness = (line: string) => `${TEXT}\n${SIGNED}${line}`;

  test("no cosignature leaves none, and is for the policy to judge", () => {
    const opened = open(withWitness(""));
    expect(opened.ok && opened.value.cosignatures).toEqual([]);
  });

  test("a cosignature by an unknown key is ignored", () => {
    const opened = open(withWitness(cosignCheckpoint(TEXT, STRANGER, TIME)));
    expect(opened.ok && opened.value.cosignatures).toEqual([]);
  });

  test("another key under the witness's name is ignored", () => {
    const impostor = signerOf(WITNESS.key.name, KEY_TYPES.cosignature, 9);
    const opened = open(withWitness(cosignCheckpoint(TEXT, impostor, TIME)));
    expect(opened.ok && opened.value.cosignatures).toEqual([]);
  });

  test("a cosignature of another text refuses the whole note", () => {
    const other = checkpointText({ origin: ORIGIN, size: 69_999, root: ROOT });
    expect(flawOf(withWitness(cosignCheckpoint(other, WITNESS, TIME)))).toBe("cosignature_wrong");
  });

  test("a changed time refuses the whole note", () => {
    const later = Buffer.from(bytes);
    later.writeBigUInt64BE(BigInt(TIME + 1), 0);
    expect(flawOf(withWitness(signatureLine(WITNESS.key, later)))).toBe("cosignature_wrong");
  });

  test("a cut cosignature, or one without a time, refuses the whole note", () => {
    for (const cut of [1, 7, 8, 9, 71]) {
      const line = signatureLine(WITNESS.key, bytes.subarray(0, cut));
      expect(flawOf(withWitness(line)), `${cut} bytes`).toBe("cosignature_wrong");
    }
    const zero = WITNESS.sign(Buffer.from(`cosignature/v1\ntime 0\n${TEXT}`));
    const line = signatureLine(WITNESS.key, Buffer.concat([Buffer.alloc(8), zero]));
    expect(flawOf(withWitness(line))).toBe("cosignature_wrong");
  });

  test("the signed message is the specification's", () => {
    const message = Buffer.from(`cosignature/v1\ntime ${TIME}\n${TEXT}`);
    const blob = Buffer.alloc(8);
    blob.writeBigUInt64BE(BigInt(TIME));
    expect(signatureLine(WITNESS.key, Buffer.concat([blob, WITNESS.sign(message)]))).toBe(COSIGNED);
    expect(cosignedAt(WITNESS.key, TEXT, bytes)).toBe(TIME);
    expect(cosignedAt(STRANGER.key, TEXT, bytes)).toBeUndefined();
  });

  test("of several cosignatures by one witness the latest counts, once", () => {
    const later = cosignCheckpoint(TEXT, WITNESS, TIME + 60);
    const opened = open(withWitness(later + COSIGNED));
    expect(opened.ok && opened.value.cosignatures).toEqual([
      { key: WITNESS.key, timeSeconds: TIME + 60 },
    ]);
  });

  test("no cosignature is made for a time that is none", () => {
    for (const time of [0, -1, 1.5, Number.NaN, 2 ** 60]) {
      expect(() => cosignCheckpoint(TEXT, WITNESS, time)).toThrow(RangeError);
    }
  });
});
