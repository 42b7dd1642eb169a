import type { Keys, Signer } from "../ports/keys.ts";
import { decodeSignedRecord, encodeSignedRecord, type SignedRecord } from "./signed-record.ts";

// On the wire a Sealed message is a SignedRecord of one signature, and is written and read as that: a coordinator
// opens and seals a few of them for each node that comes back, and the general way takes several times as long.

/**
 * What a sealed message is. The name is under the signature, so that a message of one kind never
 * passes for another; records have a domain of their own, which is none of these.
 */
export const SEAL_DOMAINS = [
  "beat",
  "ack",
  "request",
  "reply",
  "call",
  "answer",
  "journal",
  "leader",
  "revived",
  "own_log",
  "kept",
] as const;
export type SealDomain = (typeof SEAL_DOMAINS)[number];

/** Bytes of a sealed message at most; the bus carries no more. */
export const SEALED_BYTES_MAX = 1_000_000;

/** Signs a payload for one purpose. Returns the bytes of the Sealed message. */
export function seal(domain: SealDomain, payload: Uint8Array, signer: Signer): Uint8Array {
  const sig = signer.sign(signedBytes(domain, payload));
  return encodeSignedRecord({ payload, signatures: [{ kid: signer.kid, sig }] });
}

/**
 * Opens a sealed message: the payload, and the key that signed exactly these bytes for `domain`.
 *
 * @param lookupKey Raw public key that may sign here under this kid; `undefined` refuses. The
 *   payload is handed over unverified, for messages that bring their own key (enrolment).
 * @returns `undefined` for anything but a well-formed message with a good signature.
 */
export function openSealed(
  domain: SealDomain,
  bytes: Uint8Array,
  lookupKey: (kid: string, payload: Uint8Array) => Uint8Array | undefined,
  verify: Keys["verify"],
): { readonly payload: Uint8Array; readonly kid: string } | undefined {
  if (bytes.length > SEALED_BYTES_MAX) return undefined;
  const message = decode(bytes);
  const [signature, ...more] = message?.signatures ?? [];
  if (message === undefined || signature === undefined || more.length > 0) return undefined;
  const { payload } = message;
  const { kid, sig } = signature;
  const publicKey = lookupKey(kid, payload);
  if (!publicKey || !verify(publicKey, signedBytes(domain, payload), sig)) return undefined;
  return { payload, kid };
}

/** `undefined` for what is no such message, or has a field that this program does not know. */
function decode(bytes: Uint8Array): SignedRecord | undefined {
  try {
    return decodeSignedRecord(bytes);
  } catch {
    return undefined;
  }
}

function signedBytes(domain: SealDomain, payload: Uint8Array): Uint8Array {
  return Buffer.concat([PREFIXES[domain], payload]);
}

const PREFIXES = Object.fromEntries(
  SEAL_DOMAINS.map((domain) => [domain, Buffer.from(`altrace/v1/${domain}\0`)]),
) as Readonly<Record<SealDomain, Buffer>>;
