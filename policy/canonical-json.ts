// The one spelling of a bundle: object keys in the order of their UTF-16 code units, no white
// space, numbers and strings as ECMAScript writes them, which is RFC 8785 for plain data.

/** A policy has nine levels. Deeper values from outside would cost stack and say nothing. */
export const JSON_DEPTH_MAX = 32;

/** JSON as `JSON.parse` gives it, or as a bundle is built. Numbers are finite. */
export type PlainJson = null | boolean | number | string | readonly PlainJson[] | PlainObject;
export type PlainObject = { readonly [key: string]: PlainJson };

/** @throws RangeError Nested deeper than `JSON_DEPTH_MAX`. */
export function canonicalJson(value: PlainJson, depth = 0): string {
  if (depth > JSON_DEPTH_MAX) throw new RangeError(`nested deeper than ${JSON_DEPTH_MAX} levels`);
  if (Array.isArray(value)) {
    return `[${value.map((item) => canonicalJson(item, depth + 1)).join(",")}]`;
  }
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = value as PlainObject;
  const parts = Object.keys(members)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(members[key] as PlainJson, depth + 1)}`);
  return `{${parts.join(",")}}`;
}
