import type { Missing } from "../decision/facts.ts";
import type { JsonValue } from "./dialects/dialect.ts";
import { parseNamed } from "./escaped-names.ts";
import { COLON, QUOTE, stringEnd } from "./json-strings.ts";

export type StrictOptions = {
  /** Arrays and objects inside one another; a scalar has depth 0. */
  readonly depthMax: number;
  /** False for what is passed on as it came: then numbers and surrogates need not survive. */
  readonly mustRoundTrip?: boolean;
};

/** What was read: exactly one reading of the bytes, or the reason why there is none. */
export type StrictJson = { readonly value: JsonValue } | Missing;

/**
 * Reads JSON that has one reading only.
 *
 * RFC 8259 leaves open what a member named twice means, and parsers differ: of two of them one would
 * judge another request than the other runs. So a name may come once in an object, however it is
 * escaped; text must be UTF-8 without byte order mark and without lone surrogates, which no UTF-8
 * carries; numbers must be the ones that `JSON.stringify` writes back, so that what is judged is
 * what is sent. A member `__proto__` is an ordinary one.
 *
 * @returns `invalid_utf8`, `json_too_deep`, `malformed_json` or `duplicate_key`.
 * @see https://www.rfc-editor.org/rfc/rfc8259#section-4
 */
export function parseStrict(bytes: Uint8Array, options: StrictOptions): StrictJson {
  let text: string;
  try {
    text = UTF8.decode(bytes);
  } catch {
    return { missing: "invalid_utf8" };
  }
  return parseStrictText(text, options);
}

/** The same for text that was decoded without loss. */
export function parseStrictText(
  text: string,
  { depthMax, mustRoundTrip = true }: StrictOptions,
): StrictJson {
  const shape = shapeOf(text);
  if (shape.depth > depthMax) return { missing: "json_too_deep" };
  let value: JsonValue;
  try {
    value = shape.hasEscapedName ? parseNamed(text) : JSON.parse(text);
  } catch {
    return { missing: "malformed_json" };
  }
  let members: number;
  if (mustRoundTrip) {
    const walk: Walk = { escaped: text.includes("\\u"), members: 0, objection: undefined };
    inspect(value, walk);
    if (walk.objection !== undefined) return { missing: walk.objection };
    members = walk.members;
  } else {
    members = countMembers(value);
  }
  // A name that came twice has left one member behind, so the text has more members than the value.
  return members === shape.members ? { value } : { missing: "duplicate_key" };
}

// A byte order mark is kept, so that JSON.parse refuses it.
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

type Walk = {
  /** Only an escape can bring a lone surrogate: raw ones are not UTF-8. */
  readonly escaped: boolean;
  members: number;
  objection: "invalid_utf8" | "malformed_json" | undefined;
};

/** Goes as deep as the value, whose depth is bounded before it is parsed. */
function inspect(value: JsonValue, walk: Walk): void {
  if (typeof value === "string") {
    if (walk.escaped && !value.isWellFormed()) walk.objection ??= "invalid_utf8";
  } else if (typeof value === "number") {
    // Beyond 2^53 neighbours share a value; 1e400 is read as Infinity, which JSON cannot write.
    if (Math.abs(value) > Number.MAX_SAFE_INTEGER) walk.objection ??= "malformed_json";
  } else if (Array.isArray(value)) {
    for (const item of value) inspect(item, walk);
  } else if (typeof value === "object" && value !== null) {
    for (const name in value) {
      walk.members += 1;
      if (walk.escaped && !name.isWellFormed()) walk.objection ??= "invalid_utf8";
      inspect(value[name] as JsonValue, walk);
    }
  }
}

function countMembers(value: JsonValue): number {
  let members = 0;
  if (Array.isArray(value)) {
    for (const item of value) members += countMembers(item);
  } else if (typeof value === "object" && value !== null) {
    for (const name in value) members += 1 + countMembers(value[name] as JsonValue);
  }
  return members;
}

type Shape = {
  /** Arrays and objects inside one another. */
  readonly depth: number;
  readonly members: number;
  /** Whether a member's name is not spelt as it is. */
  readonly hasEscapedName: boolean;
};

/** What stands outside strings: brackets for depth, and colons, each of which follows a name. */
function shapeOf(text: string): Shape {
  let members = 0;
  let depth = 0;
  let open = 0;
  let begin = 0;
  let end = 0;
  let backslash = text.indexOf("\\");
  let hasEscapedName = false;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) {
      begin = at;
      at = stringEnd(text, at);
      end = at;
    } else if (unit === COLON) {
      members += 1;
      if (backslash >= 0 && backslash < begin) backslash = text.indexOf("\\", begin);
      hasEscapedName ||= backslash >= 0 && backslash < end;
    }
    // `[` and `{`, `]` and `}` differ in one bit.
    else if ((unit | BRACE_BIT) === OPENING_BRACE) depth = Math.max(depth, ++open);
    else if ((unit | BRACE_BIT) === CLOSING_BRACE) open -= 1;
  }
  return { depth, members, hasEscapedName };
}

const BRACE_BIT = 0x20;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;
