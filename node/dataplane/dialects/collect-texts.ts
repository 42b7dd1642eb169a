import type { JsonObject, JsonValue } from "./dialect.ts";
import { isSpeltOtherwise } from "./folded-names.ts";

/**
 * Every text inside a value whose shape is not known: strings, names of members, and its numbers.
 *
 * Numbers go together into one text: a card number may be sent as a number, and a vector of ten
 * thousand numbers is not worth ten thousand texts. What stands between two of them is no part of how anybody
 * writes a number, so that neighbours, as the bytes of a token are, never make one that nobody said.
 */
export function collectTexts(value: JsonValue, into: string[]): void {
  const numbers: string[] = [];
  collect(value, into, numbers);
  if (numbers.length > 0) into.push(numbers.join(", "));
}

/**
 * A number as it is scanned: of a fraction no more digits than tell anything. Those of a probability are noise, and
 * sixteen of them make a valid card number often enough.
 */
export function numberText(value: number): string {
  const text = String(value);
  return Number.isInteger(value) ? text : (TOLD_OF_FRACTION.exec(text)?.[0] ?? text);
}

/** One digit less than the shortest card number has. */
const TOLD_OF_FRACTION = /^-?[0-9]+\.[0-9]{1,12}/;

/**
 * Every text of an object's members, their names too, but those that are known to hold none.
 *
 * @returns False: one of them is a known one but for its case, for which some clients would take it.
 */
export function collectOthers(
  object: JsonObject,
  known: ReadonlySet<string>,
  into: string[],
): boolean {
  let isPlain = true;
  for (const name of Object.keys(object)) {
    if (known.has(name)) continue;
    if (name !== "") into.push(name);
    collectTexts(object[name] as JsonValue, into);
    isPlain &&= !isSpeltOtherwise(name, known);
  }
  return isPlain;
}

function collect(value: JsonValue, texts: string[], numbers: string[]): void {
  if (typeof value === "string") {
    if (value !== "") texts.push(value);
  } else if (typeof value === "number") {
    numbers.push(numberText(value));
  } else if (Array.isArray(value)) {
    for (const item of value) collect(item, texts, numbers);
  } else if (typeof value === "object" && value !== null) {
    for (const name of Object.keys(value)) {
      if (name !== "") texts.push(name);
      collect(value[name] as JsonValue, texts, numbers);
    }
  }
}
