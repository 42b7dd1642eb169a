import { describe, expect, test } from "vitest";
import { checkpointText, cosignCheckpoint, signCheckpoint } from "../../../audit/checkpoint.ts";
import { encodeFrame, readFrames } from "../../../audit/frame.ts";
import { encodeLeaf } from "../../../audit/leaf.ts";
import { consistencyProof, inclusionProof, leafHash } from "../../../audit/merkle.ts";
import { PERSON_KEY_BYTES, pseudonymOf } from "../../../audit/pseudonym.ts";
import { verifyReceipt } from "../../../audit/receipt.ts";
import type { AuditRecord, DecisionRecord } from "../../../audit/record.ts";
import { encodeNote } from "../../../audit/signed-note.ts";
import { readTile, subtreesFromTiles, TILE_WIDTH } from "../../../audit/tiles.ts";
import { type FindingCode, type VerifyRequest, verifyLog } from "../../../audit/verify-log.ts";
import { judgeCheckpoint, type Witnessed } from "../../../audit/witness.ts";
import {
  buildLog,
  cosignTimeOf,
  entriesOf,
  IMPOSTOR,
  LOG,
  ORIGIN,
  POLICY,
  ridOf,
  type SampleLog,
  STRANGER,
  signerOf,
  T0_MS,
  WITNESS,
} from "./sample-log.ts";
import { ALLOW } from "./sample-records.ts";
import { codes, entries, records, resign, SIZE, verify } from "./verify-sample.ts";

/** Twenty-two ways to tamper with a log, each with what finds it and what that is called. */

const deny = (index: number) => records[index] as DecisionRecord;
const good = buildLog(entries);
const subtreeOf = (log: SampleLog, size: number) =>
  subtreesFromTiles(size, (tile) => readTile({ read: (path) => log.files.get(path) }, tile));

function found(bend: (log: SampleLog) => void, more: Partial<VerifyRequest> = {}): string[] {
  const log = buildLog(entries);
  bend(log);
  return codes(verify(log, more).findings);
}

function flip(log: SampleLog, path: string, at: number): void {
  const bytes = Buffer.from(log.files.get(path) as Buffer);
  bytes[at] = (bytes[at] as number) ^ 1;
  log.files.set(path, bytes);
}

function edited(from: string | RegExp, to: string): string[] {
  return found((log) => {
    const note = (log.files.get("checkpoint") as Buffer).toString();
    log.files.set("checkpoint", Buffer.from(note.replace(from, to)));
  });
}

function edge64(log: SampleLog): string {
  return Buffer.from(log.edge.root()).toString("base64");
}

/** Base64 of 32 bytes that decodes to the same and is not what an encoder writes. */
function otherSpelling(base64: string): string {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const last = digits.indexOf(base64.at(-2) as string);
  return `${base64.slice(0, -2)}${digits[last ^ 1]}=`;
}

/** What a witness that cosigned `size` leaves of the good log knows. */
function witnessed(size: number): Witnessed {
  const { edge, text } = buildLog(entries.slice(0, size));
  const checkpoint = encodeNote(text, [signCheckpoint(text, LOG)]);
  return { size, root: edge.root(), checkpoint };
}

/** The witness's answer to a log that goes on from `seen.size` as `log` does. */
function offered(log: SampleLog, size: number, seen: Witnessed) {
  const proof = consistencyProof(seen.size, size, subtreeOf(log, size));
  const checkpoint = encodeNote(log.text, [signCheckpoint(log.text, LOG)]);
  return judgeCheckpoint({ oldSize: seen.size, proof, checkpoint }, [LOG.key], seen);
}

const E0 = "tile/entries/000";

describe("files", () => {
  test("case 1: one byte of an entry: entry_altered", () => {
    expect(found((log) => flip(log, E0, 60))).toEqual([
      "entry_altered",
      "genesis_origin",
      "root_differs",
    ]);
  });

  test("case 2: one byte of a tile of level 0: leaf_tile_altered", () => {
    expect(found((log) => flip(log, "tile/0/000", 40))).toEqual(["leaf_tile_altered"]);
  });

  test("case 3: one byte of a tile above: upper_tile_altered", () => {
    expect(found((log) => flip(log, "tile/1/000.p/2", 40))).toEqual(["upper_tile_altered"]);
  });

  test("case 4: two bundles or two entries swapped: entry_altered, seq_not_index", () => {
    const swapped = found((log) => {
      const [a, b] = [log.files.get(E0), log.files.get("tile/entries/001")] as [Buffer, Buffer];
      log.files.set(E0, b).set("tile/entries/001", a);
    });
    expect(swapped).toEqual(expect.arrayContaining(["entry_altered", "seq_not_index"]));
    const signedAnew = entries.with(300, entries[301] as Buffer).with(301, entries[300] as Buffer);
    expect(codes(verify(buildLog(signedAnew)).findings)).toEqual(["seq_not_index"]);
  });

  test("case 6: the last bundle deleted: bundle_missing", () => {
    expect(found((log) => log.files.delete("tile/entries/002.p/88"))).toEqual(["bundle_missing"]);
  });

  test("case 7: bytes behind a bundle, or a length that lies: bundle_trailing_bytes, _truncated", () => {
    const behind = found((log) => {
      log.files.set(E0, Buffer.concat([log.files.get(E0) as Buffer, Buffer.from("x")]));
    });
    expect(behind).toEqual(["bundle_trailing_bytes"]);
    expect(found((log) => flip(log, E0, 0))).toEqual(["bundle_truncated"]);
  });

  test("case 18: a partial tile of another width, or a stale one for a full one: tile_width_wrong", () => {
    const cut = found((log) => {
      const tile = log.files.get("tile/0/002.p/88") as Buffer;
      log.files.set("tile/0/002.p/88", tile.subarray(32));
    });
    expect(cut).toEqual(["tile_width_wrong"]);
    const stale = found((log) => {
      const full = log.files.get("tile/0/000") as Buffer;
      log.files.delete("tile/0/000");
      log.files.set("tile/0/000.p/200", full.subarray(0, 200 * 32));
    });
    expect(stale).toEqual(["tile_missing"]);
  });
});

describe("history, by whoever holds the log's key", () => {
  const without300 = buildLog(entriesOf(records.toSpliced(300, 1)));

  test("case 5: a record taken out, all signed anew: the witness's 422, anchor_root_differs", () => {
    expect(verify(without300).findings).toEqual([]);
    expect(offered(without300, SIZE - 1, witnessed(400))).toMatchObject({ status: 422 });
    const { size, root } = witnessed(400);
    const { findings } = verify(without300, { anchors: [{ size, root }] });
    expect(codes(findings)).toEqual(["anchor_root_differs"]);
  });

  test("case 8: rolled back to an older signed checkpoint: the witness's 409, rolled_back", () => {
    const older = buildLog(entries.slice(0, 500));
    expect(verify(older).findings).toEqual([]);
    const seen = witnessed(SIZE);
    const checkpoint = encodeNote(older.text, [signCheckpoint(older.text, LOG)]);
    const answer = judgeCheckpoint({ oldSize: 500, proof: [], checkpoint }, [LOG.key], seen);
    expect(answer).toMatchObject({ status: 409, size: SIZE });
    const { findings } = verify(older, { anchors: [seen] });
    expect(codes(findings)).toEqual(["rolled_back"]);
  });

  test("case 9: two checkpoints of one size: the witness keeps both as evidence of a fork", () => {
    const fork = buildLog(entriesOf(records.with(599, { ...deny(599), tb: 43 })));
    const answer = offered(fork, SIZE, witnessed(SIZE));
    expect(answer).toMatchObject({ status: 422, evidence: { kind: "fork" } });
  });

  test("case 12: another key under the log's name, all signed anew: log_signature_missing", () => {
    const forged = buildLog(entries, IMPOSTOR);
    expect(codes(verify(forged).findings)).toEqual(["log_signature_missing"]);
  });

  test("case 13: a log withheld: its key is in the list of logs that must exist, it is not", () => {
    const other = signerOf("altrace.acme.example/node-8/e1", 0x01, 8);
    const mustExist = [LOG.key, other.key];
    const verdicts = mustExist.map((logKey) => {
      const reader = {
        read: (path: string) => (logKey === LOG.key ? good.files.get(path) : undefined),
      };
      return codes(verifyLog({ reader, logKey, policy: POLICY }).findings);
    });
    expect(verdicts).toEqual([[], ["checkpoint_missing"]] satisfies FindingCode[][]);
  });

  test("case 14: a record dated back: time_went_back, time_before_anchor", () => {
    const back = buildLog(entriesOf(records.with(400, { ...deny(400), t: T0_MS })));
    expect(codes(verify(back).findings)).toEqual(["time_went_back"]);
    const { size, root } = witnessed(300);
    const anchors = [{ size, root, timeSeconds: T0_MS / 1_000 + 120 }];
    expect(codes(verify(good, { anchors }).findings)).toEqual(["time_before_anchor"]);
  });

  test("case 15: a request id twice: rid_duplicate", () => {
    const replayed = buildLog(entriesOf(records.with(400, { ...deny(400), rid: ridOf(7) })));
    expect(codes(verify(replayed).findings)).toEqual(["rid_duplicate"]);
  });

  test("case 19: a record changed instead of a pseudonym's key erased: entry_altered", () => {
    const named = records.with(9, { ...ALLOW, rid: ridOf(9), t: deny(9).t } as AuditRecord);
    const log = buildLog(entriesOf(named));
    const { sp: _erased, ...rest } = ALLOW;
    const changed = entriesOf(
      named.with(9, { ...rest, rid: ridOf(9), t: deny(9).t } as AuditRecord),
    );
    const wanted = buildLog(changed).files.get(E0) as Buffer;
    log.files.set(E0, wanted);
    expect(codes(verify(log).findings)).toEqual(["entry_altered", "root_differs"]);
    // What is erased in order is a key that lies elsewhere: the log verifies with the same bytes.
    const key = Buffer.alloc(PERSON_KEY_BYTES, 7);
    const sp = pseudonymOf(key, "user:alice");
    const kept = records.with(9, { ...ALLOW, sp, rid: ridOf(9), t: deny(9).t } as AuditRecord);
    expect(codes(verify(buildLog(entriesOf(kept))).findings)).toEqual([]);
    // Nobody else can be said to have stood there, not even by whoever has the key.
    expect(pseudonymOf(key, "user:bob")).not.toBe(sp);
    expect(() => pseudonymOf(key.subarray(1), "user:alice")).toThrow(RangeError);
    // The record holds nothing of the content, so no other content can be claimed for it.
    expect(encodeLeaf(ALLOW).toString()).not.toMatch(/"h":|content|prompt/);
  });
});

describe("signatures and notes", () => {
  test("case 10: size or root edited: log_signature_wrong", () => {
    expect(edited("\n600\n", "\n599\n")).toEqual(["log_signature_wrong"]);
    const other = Buffer.alloc(32, 7).toString("base64");
    expect(edited(/\n[A-Za-z0-9+/]{43}=\n/, `\n${other}\n`)).toEqual(["log_signature_wrong"]);
  });

  test("case 11: a cosignature removed, a stranger's, another text's or second's: quorum_not_met, cosignature_wrong", () => {
    const time = cosignTimeOf(SIZE);
    const own = (log: SampleLog) => signCheckpoint(log.text, LOG);
    expect(found((log) => resign(log, [own(log)]))).toEqual(["quorum_not_met"]);
    const stranger = found((log) =>
      resign(log, [own(log), cosignCheckpoint(log.text, STRANGER, time)]),
    );
    expect(stranger).toEqual(["quorum_not_met"]);
    const text = checkpointText({ origin: ORIGIN, size: 1, root: Buffer.alloc(32) });
    const moved = found((log) => resign(log, [own(log), cosignCheckpoint(text, WITNESS, time)]));
    expect(moved).toEqual(["cosignature_wrong"]);
    // The witness's own signature of this text, said to be of another second.
    const later = found((log) => {
      const line = cosignCheckpoint(log.text, WITNESS, time);
      const blob = Buffer.from(line.slice(line.lastIndexOf(" ") + 1), "base64");
      blob.writeBigUInt64BE(BigInt(time + 1), 4);
      const dated = `${line.slice(0, line.lastIndexOf(" ") + 1)}${blob.toString("base64")}\n`;
      resign(log, [own(log), dated]);
    });
    expect(later).toEqual(["cosignature_wrong"]);
  });

  test("case 20: another spelling of the note: its own flaw for each", () => {
    expect(edited(/\n/g, "\r\n")).toEqual(["note_control_character"]);
    expect(edited("\n\n", "\n\n\n")).toEqual(["checkpoint_lines"]);
    expect(edited("\n600\n", "\n0600\n")).toEqual(["checkpoint_size"]);
    expect(edited(/=\n$/, "\n")).toEqual(["note_signature_malformed"]);
    // A root of the same bytes, whose last character has bits that stand for nothing.
    const root = edge64(good);
    expect(edited(root, otherSpelling(root))).toEqual(["checkpoint_root"]);
    expect(edited(/(— .*\n)$/, "$1".repeat(16))).toEqual(["note_too_many_signatures"]);
  });
});

describe("proofs, frames and witnesses", () => {
  const receiptAt = (index: number) => ({
    index,
    proof: inclusionProof(index, SIZE, subtreeOf(good, SIZE)),
    checkpoint: (good.files.get("checkpoint") as Buffer).toString(),
  });
  const flawOf = (...args: Parameters<typeof verifyReceipt>): string => {
    const verified = verifyReceipt(...args);
    return verified.ok ? "none" : verified.flaw;
  };

  test("case 16: a receipt moved to another index or log: receipt_not_included, _log_unknown", () => {
    const receipt = receiptAt(300);
    const entry = entries[300] as Buffer;
    expect(flawOf(receipt, POLICY, entry)).toBe("none");
    expect(flawOf({ ...receipt, index: 301 }, POLICY, entry)).toBe("receipt_not_included");
    const elsewhere = { ...POLICY, logs: [signerOf("other.example/e1", 0x01, 9).key] };
    expect(flawOf(receipt, elsewhere, entry)).toBe("receipt_log_unknown");
  });

  test("case 17: a torn, cut or rotten frame of the WAL: its flaw, and nothing behind it is read", () => {
    const frames = [deny(1), deny(2)].map((record) => encodeFrame(encodeLeaf(record)));
    const [one, two] = frames as [Buffer, Buffer];
    const read = (bytes: Buffer) => {
      const { leaves, flaw } = readFrames(bytes);
      return [leaves.length, flaw];
    };
    expect(read(Buffer.concat([one, two.subarray(0, 5)]))).toEqual([1, "head_short"]);
    expect(read(Buffer.concat([one, two.subarray(0, -1)]))).toEqual([1, "leaf_short"]);
    const rotten = Buffer.concat(frames);
    rotten[20] = (rotten[20] as number) ^ 4;
    expect(read(rotten)).toEqual([0, "crc_wrong"]);
  });

  test("case 21: a node of the tree passed off as a leaf: receipt_not_included", () => {
    const pair = [entries[300], entries[301]].map((entry) => leafHash(entry as Buffer));
    const node = Buffer.concat(pair);
    const { proof, ...rest } = receiptAt(300);
    expect(flawOf({ ...rest, proof: proof.slice(1) }, POLICY, node)).toBe("receipt_not_included");
  });

  test("case 22: an older checkpoint that overtakes a newer one at the witness: 409", () => {
    // Both were made from 256, and the witness kept the longer one first.
    const seen = witnessed(TILE_WIDTH);
    const longer = offered(good, SIZE, seen);
    if (longer.status !== 200) throw new Error("not cosigned");
    const shorter = buildLog(entries.slice(0, 300));
    const proof = consistencyProof(TILE_WIDTH, 300, subtreeOf(shorter, 300));
    const checkpoint = encodeNote(shorter.text, [signCheckpoint(shorter.text, LOG)]);
    const late = { oldSize: TILE_WIDTH, proof, checkpoint };
    expect(judgeCheckpoint(late, [LOG.key], seen).status).toBe(200);
    expect(judgeCheckpoint(late, [LOG.key], longer.next)).toMatchObject({
      status: 409,
      size: SIZE,
    });
  });
});
