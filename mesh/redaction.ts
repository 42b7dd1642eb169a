import { createHmac } from "node:crypto";

// Orders to erase the keys under which a person stands in the nodes' logs.

/** How far an order's time and the clock of whoever hears of it may be apart for it to be of now, ms. */
export const REDACTION_FRESH_MS = 10 * 60_000;
/** Bytes of what stands for a person in an order. */
export const PERSON_TAG_BYTES = 32;

const DOMAIN = "altrace/v1/redact\0";
const REASON = /^[a-z][a-z0-9_]{0,63}$/;
/** As contracts spell `sub`. */
const PERSON = /^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}$/;

/** Whether a contract could name this person, and so a log. */
export function isPerson(text: string): boolean {
  return PERSON.test(text);
}

export function isRedactReason(text: string): boolean {
  return REASON.test(text);
}

/**
 * What stands for a person in an order: records of the mesh are kept for ever, so none may name anybody. A node
 * knows whom it means by the names that it keeps itself.
 *
 * @returns `PERSON_TAG_BYTES`. Another mesh's differ.
 */
export function personTag(mesh: string, person: string): Buffer {
  return createHmac("sha256", DOMAIN + mesh)
    .update(person, "utf8")
    .digest();
}

/**
 * Until when keys must have been made that an order erases, ms since the Unix epoch. While the order is of now
 * all of them go, so that no two clocks have to agree: it is of now if it was heard as it was given, or comes within
 * minutes. Later it is carried out again, after a restart or over a
 * backup that was brought back, and whoever came back since stays.
 */
export function madeByOf(
  order: { readonly madeByMs: number; readonly isLive: boolean },
  nowMs: number,
): number {
  const isFresh = order.isLive || Math.abs(nowMs - order.madeByMs) <= REDACTION_FRESH_MS;
  return isFresh ? Math.max(nowMs, order.madeByMs) : order.madeByMs;
}
