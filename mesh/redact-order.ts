import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Keys, Signer } from "../ports/keys.ts";
import { type RedactOrder, RedactOrderSchema } from "../proto/gen/altrace/v1/node_service_pb.ts";
import type { KeyLookup } from "./trust.ts";

// An operator's order to erase a person's keys. It is no record of the mesh: those are kept for ever, and
// this one names a person.

/** An order counts for so long around the time that it names, ms: whoever keeps one must not use it for ever. */
export const REDACT_ORDER_MS = 10 * 60_000;
/** Bytes of an order, at most. */
export const REDACT_ORDER_BYTES_MAX = 1_024;

const DOMAIN = Buffer.from("altrace/v1/redact\0");
const REASON = /^[a-z][a-z0-9_]{0,63}$/;
/** As contracts spell `sub`. */
const PERSON = /^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}$/;

export type SignedOrder = {
  readonly order: Uint8Array;
  readonly kid: string;
  readonly signature: Uint8Array;
};

export type RedactFields = Pick<RedactOrder, "mesh" | "person" | "issuedAtMs" | "reason">;

/** Why bytes are no order that counts. */
export type OrderRefusal =
  | "order_malformed"
  | "key_unknown"
  | "signature_invalid"
  | "mesh_mismatch"
  /** It was signed too long ago, or by a clock that is ahead. */
  | "order_expired";

/** Whether a contract could name this person, and so a log. */
export function isPerson(text: string): boolean {
  return PERSON.test(text);
}

export function isRedactReason(text: string): boolean {
  return REASON.test(text);
}

export function signRedactOrder(fields: RedactFields, signer: Signer): SignedOrder {
  const order = toBinary(RedactOrderSchema, create(RedactOrderSchema, fields));
  return { order, kid: signer.kid, signature: signer.sign(Buffer.concat([DOMAIN, order])) };
}

/** Reads an order. The signature is checked over the bytes that came, before anything in them is looked at. */
export function openRedactOrder(
  { order, kid, signature }: SignedOrder,
  context: {
    readonly mesh: string;
    readonly operatorKey: KeyLookup;
    readonly verify: Keys["verify"];
    /** Wall clock, ms since the Unix epoch. */
    readonly nowMs: number;
  },
): { readonly order: RedactOrder } | { readonly refused: OrderRefusal } {
  if (order.length > REDACT_ORDER_BYTES_MAX) return { refused: "order_malformed" };
  const key = context.operatorKey(kid);
  if (key === undefined) return { refused: "key_unknown" };
  if (!context.verify(key, Buffer.concat([DOMAIN, order]), signature)) {
    return { refused: "signature_invalid" };
  }
  const read = decoded(order);
  if (read === undefined) return { refused: "order_malformed" };
  if (read.mesh !== context.mesh) return { refused: "mesh_mismatch" };
  const ageMs = context.nowMs - Number(read.issuedAtMs);
  return Math.abs(ageMs) > REDACT_ORDER_MS ? { refused: "order_expired" } : { order: read };
}

/** A field that this program does not know may change what the others mean. */
function decoded(bytes: Uint8Array): RedactOrder | undefined {
  try {
    const order = fromBinary(RedactOrderSchema, bytes);
    const isKnown = (order.$unknown ?? []).length === 0;
    return isKnown && isPerson(order.person) && isRedactReason(order.reason) ? order : undefined;
  } catch {
    return undefined;
  }
}
