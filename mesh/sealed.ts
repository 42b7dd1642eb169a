import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Keys, Signer } from "../ports/keys.ts";
import { SealedSchema } from "../proto/gen/altrace/v1/mesh_pb.ts";

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
  const message = create(SealedSchema, { payload, signature: { kid: signer.kid, sig } });
  return toBinary(SealedSchema, message);
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
  if (!message?.signature || message.$unknown || message.signature.$unknown) return undefined;
  const { payload } = message;
  const { kid, sig } = message.signature;
  const publicKey = lookupKey(kid, payload);
  if (!publicKey || !verify(publicKey, signedBytes(domain, payload), sig)) return undefined;
  return { payload, kid };
}

function decode(bytes: Uint8Array) {
  try {
    return fromBinary(SealedSchema, bytes);
  } catch {
    return undefined;
  }
}

function signedBytes(domain: SealDomain, payload: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`altrace/v1/${domain}\0`), payload]);
}
