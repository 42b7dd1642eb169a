import type { JsonValue } from "./dialects/dialect.ts";
import { COLON, stringEnd } from "./json-strings.ts";

// JSON whose members' names are escaped, such as {"\u006dodel":1}.
//
// V8's parser guesses the next name from the objects that it has read before, and compares its guess with the text
// as it stands, escapes and all (14.6, in Node 26). After an object whose second member was named `\u006`, with a
// backslash of its own, it reads {"x":1,"\u006dodel":1} as having that name and not "model": whoever sends both
// chooses what is judged. What it does read right is a string by itself, and a name without escapes.
//
// E1. The engine is never shown an escaped name. Each name is replaced by its number, and put back afterwards.
// E2. No member is lost before its name is known: numbers differ where names do not. A name that comes twice
//     leaves a member fewer, by which whoever counts them finds it.

/** @throws SyntaxError The text is not JSON. */
export function parseNamed(text: string): JsonValue {
  const names: string[] = [];
  const numbered: string[] = [];
  let copied = 0;
  for (let at = text.indexOf('"'); at >= 0; ) {
    const end = stringEnd(text, at);
    if (isName(text, end)) {
      numbered.push(text.slice(copied, at), `"n${names.length}"`);
      names.push(JSON.parse(text.slice(at, end + 1)));
      copied = end + 1;
    }
    at = text.indexOf('"', end + 1);
  }
  numbered.push(text.slice(copied));
  return withNames(JSON.parse(numbered.join("")), names);
}

function isName(text: string, end: number): boolean {
  let at = end + 1;
  while (WHITESPACE.has(text.charCodeAt(at))) at += 1;
  return text.charCodeAt(at) === COLON;
}

/** RFC 8259, section 2. */
const WHITESPACE: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);

const ORDINARY = { configurable: true, enumerable: true, writable: true };

function withNames(value: JsonValue, names: readonly string[]): JsonValue {
  if (Array.isArray(value)) return value.map((item) => withNames(item, names));
  if (typeof value !== "object" || value === null) return value;
  const named: { [name: string]: JsonValue } = {};
  for (const number in value) {
    const name = names[Number(number.slice(1))] as string;
    // As JSON.parse does it: __proto__ is a member as any other.
    const member = withNames(value[number] as JsonValue, names);
    if (name !== "__proto__") named[name] = member;
    else Object.defineProperty(named, name, { ...ORDINARY, value: member });
  }
  return named;
}
