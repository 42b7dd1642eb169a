import {
  ARGUMENT_CHARS_MAX,
  ARGUMENT_NAME_CHARS_MAX,
  ARGUMENTS_MAX,
  type CallArguments,
} from "../../policy/argument-rules.ts";
import type { CallGiven } from "./dialects/call-part.ts";
import type { JsonValue } from "./dialects/dialect.ts";
import { ANSWER_DEPTH_MAX, asObject } from "./dialects/json-shape.ts";
import { parseStrictText } from "./strict-json.ts";

/** As much of a call's arguments as rules speak of: nothing of them is copied that could be large. */
export function callArguments(value: JsonValue | undefined): CallArguments {
  const given = new Map<string, string | number | undefined>();
  for (const [name, one] of Object.entries(asObject(value) ?? {})) {
    // Of more there is one that no rule can name, and so it is with a longer name.
    if (given.size > ARGUMENTS_MAX) break;
    const isText = typeof one === "string" && one.length <= ARGUMENT_CHARS_MAX;
    const isKnown = isText || typeof one === "number";
    given.set(name.slice(0, ARGUMENT_NAME_CHARS_MAX + 1), isKnown ? one : undefined);
  }
  return given;
}

/**
 * The same of arguments that a model wrote. Undefined for what two clients could read in two ways, or
 * what is no object at all.
 */
export function writtenArguments(given: CallGiven): CallArguments | undefined {
  if ("isRaw" in given) return undefined;
  const value = "value" in given ? given.value : parsed(given.text);
  return asObject(value) === undefined ? undefined : callArguments(value);
}

/** A call without arguments may come without a text for them. */
function parsed(text: string): JsonValue | undefined {
  const read = parseStrictText(text === "" ? "{}" : text, { depthMax: ANSWER_DEPTH_MAX });
  return "value" in read ? read.value : undefined;
}
