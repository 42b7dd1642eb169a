import { createHmac } from "node:crypto";

// Orders to erase the keys under which a person stands in the nodes' logs.

/** How far an order's time and the clock of the coordinator that takes it may be apart, ms. */
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
