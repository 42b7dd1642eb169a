import { createHash } from "node:crypto";
import type { DnsQuestion } from "./dns-question.ts";

/** How a question is answered without an address. Source: RFC 1035, section 4.1.1. */
export const DNS_CODE = {
  /** There is such a name, and nothing of the kind that was asked for. */
  empty: 0,
  malformed: 1,
  unavailable: 2,
  /**
   * Said of every name that is not granted, and not "refused": a client that asks through a list of
   * suffixes goes on to the next one only after this.
   */
  unknown: 3,
  not_implemented: 4,
  refused: 5,
} as const;
export type DnsCode = keyof typeof DNS_CODE;

const TYPE_A = 1;
const TYPE_AAAA = 28;
/** Answers are the same for ever; a short time keeps a revoked grant from being dialled for long. */
const TTL_SECONDS = 30;
/** 198.18.0.0/15 is for tests of networks (RFC 2544), and so is nobody's; the IPv6 range is drawn. */
const FAKE_6_PREFIX = "fdfa1700a17ace00";

/** An answer of a header and the question alone. */
export function dnsRefusal(question: DnsQuestion, code: DnsCode): Uint8Array {
  return Buffer.concat([header(question, DNS_CODE[code], 0), question.bytes]);
}

/** For a datagram whose question cannot be read: there is none to repeat. */
export function dnsFlaw(id: number, code: "malformed" | "not_implemented"): Uint8Array {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt16BE(id, 0);
  bytes.writeUInt16BE(0x8000 | DNS_CODE[code], 2);
  return bytes;
}

/**
 * An address that stands for the name. Nobody is there: the connection is captured whatever its
 * address, and where it goes is said by its ClientHello. What is asked for beside addresses is empty.
 */
export function dnsStandIn(question: DnsQuestion): Uint8Array {
  const address = standInAddress(question.name, question.type);
  if (address === undefined) return dnsRefusal(question, "empty");
  const record = Buffer.alloc(12);
  // The name of the question, by a pointer to it.
  record.writeUInt16BE(0xc00c, 0);
  record.writeUInt16BE(question.type, 2);
  record.writeUInt16BE(1, 4);
  record.writeUInt32BE(TTL_SECONDS, 6);
  record.writeUInt16BE(address.length, 10);
  return Buffer.concat([header(question, DNS_CODE.empty, 1), question.bytes, record, address]);
}

/** The same name has the same address, on every node and after every start; nothing is remembered. */
function standInAddress(name: string, type: number): Uint8Array | undefined {
  const hash = createHash("sha256").update(name).digest();
  if (type === TYPE_A) {
    const host = hash.readUInt32BE(0) & 0x1ffff;
    return Uint8Array.from([198, 18 | (host >> 16), (host >> 8) & 0xff, host & 0xff]);
  }
  if (type !== TYPE_AAAA) return undefined;
  return Buffer.concat([Buffer.from(FAKE_6_PREFIX, "hex"), hash.subarray(0, 8)]);
}

function header(question: DnsQuestion, code: number, answers: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt16BE(question.id, 0);
  // An answer, by who knows, with recursion as it was asked for and available.
  const recursion = question.recursionDesired ? 0x0100 : 0;
  bytes.writeUInt16BE(0x8480 | recursion | code, 2);
  bytes.writeUInt16BE(1, 4);
  bytes.writeUInt16BE(answers, 6);
  return bytes;
}
