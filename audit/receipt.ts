/**
 * Receipts: one entry's proof of inclusion under a signed checkpoint, in a file that anybody can
 * check offline with public keys alone.
 *
 * @see https://c2sp.org/tlog-proof
 */

import { type CheckpointFlaw, type OpenedCheckpoint, openCheckpoint } from "./checkpoint.ts";
import { decodeRecord } from "./leaf.ts";
import { hasQuorum, type LogPolicy } from "./log-policy.ts";
import { HASH_BYTES, leafHash, PROOF_HASHES_MAX, verifyInclusion } from "./merkle.ts";
import { flawed, type Parsed, parsed } from "./parsed.ts";
import { NOTE_BYTES_MAX, parseNote } from "./signed-note.ts";
import { strictBase64, strictDecimal, strictUtf8 } from "./strict-text.ts";

/** Bytes of a receipt, at most: the largest note, proof and entry, and their line ends. */
export const RECEIPT_BYTES_MAX = NOTE_BYTES_MAX + 96 * 1024;

const FIRST_LINE = "c2sp.org/tlog-proof@v1";

export type Receipt = {
  readonly index: number;
  /** From the leaf's sibling to the root's child. */
  readonly proof: readonly Uint8Array[];
  /** The signed checkpoint, verbatim. */
  readonly checkpoint: string;
  /** The entry itself, so that the receipt can be read alone. Believed only once it is proven. */
  readonly entry?: Uint8Array;
};

export type ReceiptFlaw =
  | "receipt_too_large"
  | "receipt_not_utf8"
  | "receipt_header"
  | "receipt_extra"
  | "receipt_index"
  | "receipt_proof"
  | "receipt_checkpoint"
  | CheckpointFlaw
  | "receipt_log_unknown"
  | "receipt_quorum"
  | "receipt_entry_missing"
  | "receipt_entry_other"
  | "receipt_not_included"
  | "receipt_seq_not_index";

/**
 * @throws RangeError The receipt would not parse: a bug of ours.
 */
export function encodeReceipt({ index, proof, checkpoint, entry }: Receipt): string {
  const lines = [FIRST_LINE];
  if (entry !== undefined) lines.push(`extra ${Buffer.from(entry).toString("base64")}`);
  lines.push(`index ${index}`, ...proof.map((hash) => Buffer.from(hash).toString("base64")));
  const text = `${lines.join("\n")}\n\n${checkpoint}`;
  const back = parseReceipt(Buffer.from(text, "utf8"));
  if (!back.ok) throw new RangeError(`not a receipt: ${back.flaw}: ${back.detail}`);
  return text;
}

/** Reads a receipt. It shows nothing before `verifyReceipt` has been asked. */
export function parseReceipt(bytes: Uint8Array): Parsed<Receipt, ReceiptFlaw> {
  if (bytes.length > RECEIPT_BYTES_MAX) {
    return flawed("receipt_too_large", `${bytes.length} bytes`);
  }
  const text = strictUtf8(bytes);
  if (text === undefined) return flawed("receipt_not_utf8", "invalid UTF-8");
  const blank = text.indexOf("\n\n");
  if (blank < 0) return flawed("receipt_checkpoint", "no blank line before a checkpoint");
  const lines = text.slice(0, blank).split("\n");
  if (lines.shift() !== FIRST_LINE) return flawed("receipt_header", `is not ${FIRST_LINE}`);
  const extra = lines[0]?.startsWith("extra ") ? lines.shift()?.slice("extra ".length) : undefined;
  const entry = extra === undefined ? undefined : strictBase64(extra);
  if (extra !== undefined && entry === undefined) return flawed("receipt_extra", "is not base64");
  const [word, decimal, ...rest] = lines.shift()?.split(" ") ?? [];
  const index = strictDecimal(decimal ?? "");
  if (word !== "index" || index === undefined || rest.length > 0) {
    return flawed("receipt_index", "is not index <i>");
  }
  const proof = lines.map(strictBase64).filter((hash) => hash?.length === HASH_BYTES) as Buffer[];
  if (proof.length !== lines.length || proof.length > PROOF_HASHES_MAX) {
    return flawed("receipt_proof", `${lines.length} lines, ${proof.length} of them hashes`);
  }
  const checkpoint = text.slice(blank + 2);
  const note = parseNote(Buffer.from(checkpoint, "utf8"));
  if (!note.ok) return flawed("receipt_checkpoint", `${note.flaw}: ${note.detail}`);
  const whole = { index, proof, checkpoint };
  return parsed(entry === undefined ? whole : { ...whole, entry });
}

export type ProvenEntry = {
  readonly index: number;
  readonly entry: Uint8Array;
  readonly checkpoint: OpenedCheckpoint;
};

/**
 * Checks a receipt against a policy: a known log signed the checkpoint, a quorum of witnesses saw
 * it, and the entry stands in that log at that index.
 *
 * @param entry The entry the caller asks about. If the receipt carries one too, both must agree.
 *   Without it the receipt's own is proven.
 */
export function verifyReceipt(
  receipt: Receipt,
  policy: LogPolicy,
  entry?: Uint8Array,
): Parsed<ProvenEntry, ReceiptFlaw> {
  const proven = entry ?? receipt.entry;
  if (proven === undefined) return flawed("receipt_entry_missing", "there is no entry to check");
  if (receipt.entry !== undefined && Buffer.compare(proven, receipt.entry) !== 0) {
    return flawed("receipt_entry_other", "the receipt is for another entry");
  }
  const opened = openByPolicy(receipt.checkpoint, policy);
  if (!opened.ok) return opened;
  const { size, root } = opened.value;
  const { index, proof } = receipt;
  if (!verifyInclusion({ index, size, leaf: leafHash(proven), proof, root })) {
    return flawed("receipt_not_included", `the proof does not lead from ${index} to the root`);
  }
  const leaf = decodeRecord(proven);
  // The log put it there, but the record itself says that it belongs elsewhere.
  if (leaf.ok && leaf.record.seq !== index) {
    return flawed("receipt_seq_not_index", `seq ${leaf.record.seq} at index ${index}`);
  }
  return parsed({ index, entry: proven, checkpoint: opened.value });
}

function openByPolicy(
  checkpoint: string,
  policy: LogPolicy,
): Parsed<OpenedCheckpoint, ReceiptFlaw> {
  const bytes = Buffer.from(checkpoint, "utf8");
  const origin = checkpoint.slice(0, checkpoint.indexOf("\n"));
  const keys = policy.logs.filter(({ name }) => name === origin);
  if (keys.length === 0) return flawed("receipt_log_unknown", origin);
  // A log may have two keys while one replaces the other: any one suffices, but none may be wrong.
  const results = keys.map((key) => openCheckpoint(bytes, key, policy.witnesses));
  const wrong = results.find((result) => !result.ok && result.flaw !== "log_signature_missing");
  const opened =
    wrong ?? results.find((result) => result.ok) ?? (results[0] as (typeof results)[0]);
  if (!opened.ok) return opened;
  const cosigners = opened.value.cosignatures.map(({ key }) => key);
  return hasQuorum(policy, cosigners)
    ? opened
    : flawed("receipt_quorum", `${cosigners.length} cosignatures are no quorum`);
}
