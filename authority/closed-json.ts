import { isAscii } from "node:buffer";
import { canonicalJson, JcsError } from "../proto/jcs.ts";
import { ITEMS_MAX, NESTING_MAX } from "./contract-limits.ts";
import { RefusedContract } from "./contract-refusal.ts";

// Readers of JSON in which everything is required and nothing else may be there.
//
// J1. Bytes are the canonical spelling of the value that they hold: no member twice, however it is
//     escaped, no white space, no number but the one that is written back.
// J2. Every member is named, none is absent, none is added. There is no default.
// J3. A number is an integer, 0 to 2^53-1.

/** `[` and `{`, `]` and `}` are one bit apart. */
const BRACE_BIT = 0x20;
const OPENING = 0x7b;
const CLOSING = 0x7d;
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @throws RefusedContract It is not JSON in UTF-8. */
export function readJson(bytes: Uint8Array): { readonly text: string; readonly value: unknown } {
  try {
    // All that a contract may say is ASCII, which is looked at and decoded in a fraction of the time.
    const text = isAscii(bytes) ? viewOf(bytes).toString("latin1") : UTF8.decode(bytes);
    return { text, value: JSON.parse(text) };
  } catch {
    throw new RefusedContract("contract_not_canonical", "not JSON in UTF-8");
  }
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** J1. @throws RefusedContract `text` is another spelling of the value than the canonical one. */
export function mustBeCanonical(value: unknown, text: string): void {
  if (spellingOf(value) === text) return;
  throw new RefusedContract("contract_not_canonical", "not the canonical spelling");
}

/** Exactly these members. */
export function readMembers<N extends string>(
  value: unknown,
  names: readonly N[],
  at: string,
): Readonly<Record<N, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw claims(at);
  for (const name of names) {
    if (!Object.hasOwn(value, name)) throw claims(`${at}.${name} is missing`);
  }
  const found = Object.keys(value);
  // All are there, so one that is not known is one too many.
  if (found.length > names.length) {
    const extra = found.find((name) => !names.some((known) => known === name)) ?? "";
    throw claims(`${at}.${extra.slice(0, 64)} is not known`);
  }
  return value as Readonly<Record<N, unknown>>;
}

/** Members of an object whose names are data. */
export function readEntries(value: unknown, at: string): readonly (readonly [string, unknown])[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw claims(at);
  return bounded(Object.entries(value), at);
}

export function readItems(value: unknown, at: string): readonly unknown[] {
  if (!Array.isArray(value)) throw claims(at);
  return bounded(value, at);
}

/** J3. */
export function readCount(value: unknown, at: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw claims(at);
  return value as number;
}

export function readMatching(value: unknown, grammar: RegExp, at: string): string {
  if (typeof value !== "string" || !grammar.test(value)) throw claims(at);
  return value;
}

export function readPassing(value: unknown, passes: (text: string) => boolean, at: string): string {
  if (typeof value !== "string" || !passes(value)) throw claims(at);
  return value;
}

export function claims(detail: string): RefusedContract {
  return new RefusedContract("contract_claims", detail);
}

function bounded<T>(items: readonly T[], at: string): readonly T[] {
  if (items.length <= ITEMS_MAX) return items;
  throw new RefusedContract("contract_too_large", `${at} has more than ${ITEMS_MAX} items`);
}

function spellingOf(value: unknown): string | undefined {
  try {
    return canonicalJson(value);
  } catch (error) {
    if (error instanceof JcsError) return undefined;
    throw error;
  }
}

/**
 * For what no contract is. What one may say nests no deeper than its schema does, and a token's size
 * bounds what parsing it costs, so this is looked at where another reason would be told otherwise.
 *
 * No string of a contract holds a bracket, so counting them is exact enough.
 */
export function mustBeShallow(bytes: Uint8Array): void {
  let level = 0;
  for (let i = 0; i < bytes.length; i++) {
    const folded = (bytes[i] as number) | BRACE_BIT;
    if (folded === OPENING) level += 1;
    else if (folded === CLOSING) level -= 1;
    if (level > NESTING_MAX) {
      throw new RefusedContract("contract_too_large", `nested deeper than ${NESTING_MAX}`);
    }
  }
}
