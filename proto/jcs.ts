// Canonical JSON: one value has one spelling, so that what is hashed can be written again by
// others.

/** Nesting above this is refused, so that a hostile value cannot exhaust the stack. Levels. */
export const JCS_DEPTH_MAX = 64;

/** The value has no canonical spelling: the caller built something that is not JSON. */
export class JcsError extends Error {
  override readonly name = "JcsError";
}

/**
 * Writes `value` as JSON of RFC 8785: object keys sorted by UTF-16 code units, no white space,
 * numbers and strings as ECMAScript writes them.
 *
 * Only plain data is taken. `undefined`, functions, bigints, holes in arrays, objects of a class
 * and
 * objects with a `toJSON` are refused rather than dropped or converted, because a member that
 * vanishes in silence would be missing from what is signed.
 *
 * @throws JcsError NaN, an infinity, a lone surrogate (in a key too), anything above, or nesting
 *   deeper than `JCS_DEPTH_MAX`.
 * @see https://www.rfc-editor.org/rfc/rfc8785
 */
export function canonicalJson(value: unknown): string {
  return write(value, 0);
}

function write(value: unknown, depth: number): string {
  if (depth > JCS_DEPTH_MAX) throw new JcsError(`nested deeper than ${JCS_DEPTH_MAX} levels`);
  switch (typeof value) {
    case "string":
      return canonicalString(value);
    case "number":
      return canonicalNumber(value);
    case "boolean":
      return value ? "true" : "false";
    case "object":
      if (value === null) return "null";
      return Array.isArray(value) ? writeArray(value, depth) : writeObject(value, depth);
    default:
      throw new JcsError(`a value of type ${typeof value} is not JSON`);
  }
}

/** Printable ASCII that nothing has to be escaped in: nearly all strings are. */
const PLAIN = /^[ !#-[\]-~]*$/;

/** A string in quotes, escaped as RFC 8785 §3.2.2.2 says: which is what ECMAScript itself does. */
export function canonicalString(text: string): string {
  if (PLAIN.test(text)) return `"${text}"`;
  // JSON.stringify would write a lone surrogate as an escape, which the RFC forbids.
  if (!text.isWellFormed()) throw new JcsError("a string holds a lone surrogate");
  return JSON.stringify(text);
}

function canonicalNumber(value: number): string {
  if (!Number.isFinite(value)) throw new JcsError(`${value} is not a JSON number`);
  // Minus zero is written as 0 by both.
  return String(value);
}

function writeArray(values: readonly unknown[], depth: number): string {
  let text = "[";
  // By index, not by `map`, which would skip a hole.
  for (let i = 0; i < values.length; i++) {
    if (i > 0) text += ",";
    text += write(values[i], depth + 1);
  }
  return `${text}]`;
}

function writeObject(value: object, depth: number): string {
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new JcsError("an object of a class is not plain data");
  }
  const members = value as Readonly<Record<string, unknown>>;
  const keys = Object.keys(members);
  // Both compare UTF-16 code units, which is the order of the RFC. Most objects are in order.
  if (!isSorted(keys)) keys.sort();
  let text = "{";
  for (const key of keys) {
    if (text.length > 1) text += ",";
    text += `${canonicalString(key)}:${write(members[key], depth + 1)}`;
  }
  return `${text}}`;
}

function isSorted(keys: readonly string[]): boolean {
  for (let i = 1; i < keys.length; i++) {
    if ((keys[i - 1] as string) > (keys[i] as string)) return false;
  }
  return true;
}
