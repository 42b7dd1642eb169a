import { describe, expect, test } from "vitest";
import {
  checkpointText,
  cosignCheckpoint,
  encodeCheckpoint,
  signCheckpoint,
} from "../../../audit/checkpoint.ts";
import { inclusionProof, leafHash, nodeHash } from "../../../audit/merkle.ts";
import {
  encodeReceipt,
  parseReceipt,
  type Receipt,
  verifyReceipt,
} from "../../../audit/receipt.ts";
import { KEY_TYPES } from "../../../audit/signed-note.ts";
import { readTile, subtreesFromTiles } from "../../../audit/tiles.ts";
import {
  buildLog,
  cosignTimeOf,
  entriesOf,
  IMPOSTOR,
  LOG,
  ORIGIN,
  POLICY,
  recordsOf,
  STRANGER,
  signerOf,
  WITNESS,
} from "./sample-log.ts";

const SIZE = 300;
const INDEX = 257;
const entries = entriesOf(recordsOf(SIZE));
const log = buildLog(entries);
const checkpoint = log.files.get("checkpoint")?.toString() as string;
const entry = entries[INDEX] as Buffer;
const subtree = subtreesFromTiles(SIZE, (tile) =>
  readTile({ read: (path) => log.files.get(path) }, tile),
);

function receiptOf(index: number): Receipt {
  return { index, proof: inclusionProof(index, SIZE, subtree), checkpoint };
}

const receipt = receiptOf(INDEX);

function parse(text: string): Receipt {
  const result = parseReceipt(Buffer.from(text));
  if (!result.ok) throw new Error(`${result.flaw}: ${result.detail}`);
  return result.value;
}

function flawOf(result: { ok: true } | { ok: false; flaw: string }): string {
  return result.ok ? "none" : result.flaw;
}

test("a receipt is the specification's text", () => {
  const lines = encodeReceipt(receipt).split("\n");
  expect(lines.slice(0, 2)).toEqual(["c2sp.org/tlog-proof@v1", `index ${INDEX}`]);
  expect(lines.indexOf("")).toBe(2 + receipt.proof.length);
  expect(lines.slice(lines.indexOf("") + 1).join("\n")).toBe(checkpoint);
});

test("every entry has a receipt that is read back and verifies", () => {
  for (const [index, bytes] of entries.entries()) {
    const back = parse(encodeReceipt(receiptOf(index)));
    const result = verifyReceipt(back, POLICY, bytes);
    expect(result.ok && result.value).toMatchObject({ index, checkpoint: { size: SIZE } });
  }
});

test("a receipt may carry its entry and then verifies alone", () => {
  const alone = parse(encodeReceipt({ ...receipt, entry }));
  const result = verifyReceipt(alone, POLICY);
  expect(result.ok && Buffer.from(result.value.entry)).toEqual(entry);
  expect(flawOf(verifyReceipt(receipt, POLICY))).toBe("receipt_entry_missing");
  expect(flawOf(verifyReceipt(alone, POLICY, entries[0]))).toBe("receipt_entry_other");
});

test("a log of one entry has a receipt without hashes", () => {
  const single = buildLog(entries.slice(0, 1));
  const note = single.files.get("checkpoint")?.toString() as string;
  const text = encodeReceipt({ index: 0, proof: [], checkpoint: note });
  expect(text.startsWith("c2sp.org/tlog-proof@v1\nindex 0\n\n")).toBe(true);
  expect(verifyReceipt(parse(text), POLICY, entries[0]).ok).toBe(true);
});

describe("a receipt shows nothing", () => {
  const signed = (text: string, line: string) =>
    encodeCheckpoint(text, [line, cosignCheckpoint(text, WITNESS, cosignTimeOf(SIZE))]);
  const other = checkpointText({ origin: "other.example/e1", size: SIZE, root: log.edge.root() });
  const node = Buffer.concat([leafHash(entries[0] as Buffer), leafHash(entries[1] as Buffer)]);

  test.each<[string, Receipt, Uint8Array, string]>([
    ["at another index", { ...receipt, index: INDEX - 1 }, entry, "receipt_not_included"],
    ["for another entry", receipt, entries[INDEX - 1] as Buffer, "receipt_not_included"],
    [
      "with a hash less",
      { ...receipt, proof: receipt.proof.slice(1) },
      entry,
      "receipt_not_included",
    ],
    ["beyond the log", { ...receipt, index: SIZE }, entry, "receipt_not_included"],
    [
      "for two leaves passed off as one",
      { ...receiptOf(0), proof: receiptOf(0).proof.slice(1) },
      node,
      "receipt_not_included",
    ],
    [
      "under a checkpoint of another log",
      {
        ...receipt,
        checkpoint: signed(
          other,
          signCheckpoint(other, signerOf("other.example/e1", KEY_TYPES.log, 1)),
        ),
      },
      entry,
      "receipt_log_unknown",
    ],
    [
      "under a checkpoint of another key",
      { ...receipt, checkpoint: signed(log.text, signCheckpoint(log.text, IMPOSTOR)) },
      entry,
      "log_signature_missing",
    ],
    [
      "without a quorum",
      { ...receipt, checkpoint: encodeCheckpoint(log.text, [signCheckpoint(log.text, LOG)]) },
      entry,
      "receipt_quorum",
    ],
    [
      "with a stranger for a witness",
      {
        ...receipt,
        checkpoint: encodeCheckpoint(log.text, [
          signCheckpoint(log.text, LOG),
          cosignCheckpoint(log.text, STRANGER, 1),
        ]),
      },
      entry,
      "receipt_quorum",
    ],
    [
      "under an edited checkpoint",
      { ...receipt, checkpoint: checkpoint.replace("\n300\n", "\n301\n") },
      entry,
      "log_signature_wrong",
    ],
  ])("%s", (_name, bent, bytes, flaw) => {
    expect(flawOf(verifyReceipt(bent, POLICY, bytes))).toBe(flaw);
  });

  test("for two leaves passed off as one, though the hashes above them are right", () => {
    // Without the prefixes this very claim, one level up and of half the size, would hold.
    expect(nodeHash(node.subarray(0, 32), node.subarray(32))).not.toEqual(leafHash(node));
  });

  test("for a record that the log itself put in the wrong place", () => {
    const swapped = [...entries];
    [swapped[4], swapped[5]] = [entries[5] as Buffer, entries[4] as Buffer];
    const bent = buildLog(swapped);
    const proof = inclusionProof(
      4,
      SIZE,
      subtreesFromTiles(SIZE, (tile) => readTile({ read: (path) => bent.files.get(path) }, tile)),
    );
    const note = bent.files.get("checkpoint")?.toString() as string;
    const result = verifyReceipt({ index: 4, proof, checkpoint: note }, POLICY, swapped[4]);
    expect(flawOf(result)).toBe("receipt_seq_not_index");
  });
});

test("while a log changes its key, either one will do, and a wrong signature never", () => {
  const both = { ...POLICY, logs: [IMPOSTOR.key, LOG.key] };
  expect(verifyReceipt(receipt, both, entry).ok).toBe(true);
  const wrong = signCheckpoint(
    checkpointText({ origin: ORIGIN, size: 1, root: Buffer.alloc(32) }),
    IMPOSTOR,
  );
  expect(flawOf(verifyReceipt({ ...receipt, checkpoint: checkpoint + wrong }, both, entry))).toBe(
    "log_signature_wrong",
  );
});

describe("the text has one spelling", () => {
  const text = encodeReceipt({ ...receipt, entry });
  const hash = Buffer.from(receipt.proof[0] as Uint8Array).toString("base64");
  test.each([
    ["another version", text.replace("@v1", "@v2"), "receipt_header"],
    ["line ends of another system", text.replaceAll("\n", "\r\n"), "receipt_checkpoint"],
    ["no blank line", text.replaceAll("\n\n", "\n"), "receipt_checkpoint"],
    ["an index with a leading zero", text.replace("index ", "index 0"), "receipt_index"],
    [
      "an index with a word behind it",
      text.replace("\nindex 257", "\nindex 257 x"),
      "receipt_index",
    ],
    ["another word for the index", text.replace("\nindex ", "\nplace "), "receipt_index"],
    [
      "more hashes than a tree has levels",
      text.replace(hash, `${hash}\n`.repeat(64) + hash),
      "receipt_proof",
    ],
    ["no index", text.replace(/index \d+\n/, ""), "receipt_index"],
    ["extra data that is not base64", text.replace("extra ", "extra !"), "receipt_extra"],
    ["extra data twice", text.replace("\nindex", "\nextra AAAA\nindex"), "receipt_index"],
    ["a hash without padding", text.replace(hash, hash.slice(0, -1)), "receipt_proof"],
    ["a hash that is too short", text.replace(hash, "AAAA"), "receipt_proof"],
    ["an unsigned checkpoint", text.slice(0, text.indexOf("— ")), "receipt_checkpoint"],
    ["a mark at the beginning", `\ufeff${text}`, "receipt_header"],
    ["nothing", "", "receipt_checkpoint"],
    ["too many bytes", text + "a".repeat(200_000), "receipt_too_large"],
  ])("not with %s", (_name, bent, flaw) => {
    expect(flawOf(parseReceipt(Buffer.from(bent)))).toBe(flaw);
  });

  test("and no other is written", () => {
    expect(() => encodeReceipt({ ...receipt, index: -1 })).toThrow(RangeError);
    expect(() => encodeReceipt({ ...receipt, proof: [Buffer.alloc(31)] })).toThrow(RangeError);
    expect(() => encodeReceipt({ ...receipt, checkpoint: "x" })).toThrow(RangeError);
  });
});
