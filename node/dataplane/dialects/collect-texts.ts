import type { JsonObject, JsonValue } from "./dialect.ts";

/**
 * Every text inside a value whose shape is not known: strings, names of members, and its numbers.
 *
 * Numbers go together into one text: a card number may be sent as a number, and a vector of ten
 * thousand numbers is not worth ten thousand texts.
 */
export function collectTexts(value: JsonValue, into: string[]): void {
  const numbers: number[] = [];
  collect(value, into, numbers);
  if (numbers.length > 0) into.push(numbers.join(" "));
}

/** Every text of an object's members, their names too, but those that are known to hold none. */
export function collectOthers(
  object: JsonObject,
  known: ReadonlySet<string>,
  into: string[],
): void {
  for (const name of Object.keys(object)) {
    if (known.has(name)) continue;
    if (name !== "") into.push(name);
    collectTexts(object[name] as JsonValue, into);
  }
}

function collect(value: JsonValue, texts: string[], numbers: number[]): void {
  if (typeof value === "string") {
    if (value !== "") texts.push(value);
  } else if (typeof value === "number") {
    numbers.push(value);
  } else if (Array.isArray(value)) {
    for (const item of value) collect(item, texts, numbers);
  } else if (typeof value === "object" && value !== null) {
    for (const name of Object.keys(value)) {
      if (name !== "") texts.push(name);
      collect(value[name] as JsonValue, texts, numbers);
    }
  }
}
