import { canonicalJson, JcsError } from "../proto/jcs.ts";
import { ITEMS_MAX, NESTING_MAX } from "./contract-limits.ts";
import { RefusedContract } from "./contract-refusal.ts";

// Readers of JSON in which everything is required and nothing else may be there.
//
// J1. Bytes are the canonical spelling of the value that they hold: no member twice, however it is
//     escaped, no white space, no number but the one that is written back.
// J2. Every member is named, none is absent, none is added. There is no default.
// J3. A number is an integer, 0 to 2^53-1.

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @throws RefusedContract J1 does not hold, or it nests too deeply. */
export function readCanonical(bytes: Uint8Array): unknown {
  let text: string;
  let value: unknown;
  try {
    text = UTF8.decode(bytes);
    value = JSON.parse(text);
  } catch {
    throw new RefusedContract("contract_not_canonical", "not JSON in UTF-8");
  }
  if (depthOf(value) > NESTING_MAX) {
    throw new RefusedContract("contract_too_large", `nested deeper than ${NESTING_MAX}`);
  }
  if (spellingOf(value) !== text) {
    throw new RefusedContract("contract_not_canonical", "not the canonical spelling");
  }
  return value;
}

/** Exactly these members. */
export function readMembers<N extends string>(
  value: unknown,
  names: readonly N[],
  at: string,
): Readonly<Record<N, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw claims(at);
  const missing = names.find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) throw claims(`${at}.${missing} is missing`);
  const extra = Object.keys(value).find((name) => !names.some((known) => known === name));
  if (extra !== undefined) throw claims(`${at}.${extra.slice(0, 64)} is not known`);
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

/** Stops one level beyond the limit, so that depth costs no stack. */
function depthOf(value: unknown, level = 0): number {
  if (typeof value !== "object" || value === null) return 0;
  if (level > NESTING_MAX) return 1;
  return 1 + Math.max(0, ...Object.values(value).map((inner) => depthOf(inner, level + 1)));
}
