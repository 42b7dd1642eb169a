import { isHostName } from "../../../policy/hosts.ts";

// The only questions that a resolver for captured agents is asked by honest ones: one name, class IN.
// Source: RFC 1035, sections 4.1 and 2.3.4; RFC 6891, section 6.1.1 (the one extra record).

const HEADER_BYTES = 12;
/** A question with the longest name and an OPT record; what is longer is no question of ours. */
const QUESTION_BYTES_MAX = 512;
const LABEL_BYTES_MAX = 63;
const CLASS_IN = 1;
const QR = 0x8000;
const OPCODE = 0x7800;

export type DnsQuestion = {
  readonly id: number;
  /** Whether the client asked for recursion; answers repeat it. */
  readonly recursionDesired: boolean;
  /** Lower case, without the dot at its end. */
  readonly name: string;
  readonly type: number;
  /** The question as it came, which an answer repeats byte for byte. */
  readonly bytes: Uint8Array;
};

/** What a datagram is: a question, one that cannot be read, or nothing that is answered. */
export type ReadQuestion =
  | { readonly question: DnsQuestion }
  | { readonly flaw: "malformed" | "not_implemented"; readonly id: number }
  | undefined;

/**
 * Reads one datagram.
 *
 * @returns undefined for what no answer is owed: too short to have an id, too long, or an answer itself.
 */
export function readDnsQuestion(datagram: Uint8Array): ReadQuestion {
  const bytes = Buffer.from(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  if (bytes.length < HEADER_BYTES || bytes.length > QUESTION_BYTES_MAX) return undefined;
  const id = bytes.readUInt16BE(0);
  const flags = bytes.readUInt16BE(2);
  // An answer to an answer could go on for ever.
  if ((flags & QR) !== 0) return undefined;
  if ((flags & OPCODE) !== 0) return { flaw: "not_implemented", id };
  const [questions, answers, authorities, extras] = [4, 6, 8, 10].map((at) =>
    bytes.readUInt16BE(at),
  );
  const isOne = questions === 1 && answers === 0 && authorities === 0 && (extras ?? 0) <= 1;
  const named = isOne ? readName(bytes, HEADER_BYTES) : undefined;
  if (named === undefined || named.end + 4 > bytes.length) return { flaw: "malformed", id };
  if (bytes.readUInt16BE(named.end + 2) !== CLASS_IN) return { flaw: "not_implemented", id };
  return {
    question: {
      id,
      recursionDesired: (flags & 0x0100) !== 0,
      name: named.name,
      type: bytes.readUInt16BE(named.end),
      bytes: bytes.subarray(HEADER_BYTES, named.end + 4),
    },
  };
}

/** A name without pointers: a question has nothing to point to. */
function readName(
  bytes: Buffer,
  from: number,
): { readonly name: string; readonly end: number } | undefined {
  const labels: string[] = [];
  for (let at = from; at < bytes.length; ) {
    const length = bytes[at] as number;
    if (length === 0) {
      const name = labels.join(".").toLowerCase();
      return isHostName(name) ? { name, end: at + 1 } : undefined;
    }
    if (length > LABEL_BYTES_MAX || at + 1 + length > bytes.length) return undefined;
    labels.push(bytes.toString("latin1", at + 1, at + 1 + length));
    // A dot within a label would be read as two.
    if (labels.at(-1)?.includes(".")) return undefined;
    at += 1 + length;
  }
  return undefined;
}
