import {
  ARGUMENT_CHARS_MAX,
  ARGUMENT_NAME_CHARS_MAX,
  ARGUMENTS_MAX,
  isPlace,
} from "./argument-rules.ts";
import type { ArgumentRule, ArgumentRules } from "./compiled-policy.ts";
import * as defaults from "./defaults.ts";
import {
  type Field,
  readBoolean,
  readEntries,
  readInteger,
  readList,
  readListOf,
  readMap,
  readMatching,
  readText,
} from "./field-reader.ts";
import { isPattern } from "./pattern.ts";

export const ARGUMENT_FIELDS = [
  "one_of",
  "within",
  "chars_max",
  "at_least",
  "at_most",
  "required",
] as const;

const OF_TEXT = ["one_of", "within", "chars_max"] as const;
const OF_NUMBERS = ["at_least", "at_most"] as const;
const NUMBERS = { min: -Number.MAX_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER };

/** Reads what the arguments of calls may be, by tool. */
export function readArguments(field: Field): ReadonlyMap<string, ArgumentRules> {
  const tools = new Map<string, ArgumentRules>();
  for (const [pattern, entry] of readEntries(field) ?? []) {
    if (!isPattern(pattern)) {
      const message = 'is not a tool such as "run_shell", "mcp/files/read" or "mcp/files/*"';
      entry.findings.error(entry, "malformed", message);
    }
    tools.set(pattern, readRules(entry));
  }
  if (tools.size > defaults.TOOL_VERBS_MAX) {
    field.findings.error(field, "too_large", `more than ${defaults.TOOL_VERBS_MAX} tools`);
  }
  return tools;
}

function readRules(field: Field): ArgumentRules {
  const rules = new Map<string, ArgumentRule>();
  for (const [name, entry] of readEntries(field) ?? []) {
    if (name.length > ARGUMENT_NAME_CHARS_MAX) {
      const message = `a name of more than ${ARGUMENT_NAME_CHARS_MAX} characters`;
      entry.findings.error(entry, "too_large", message);
    }
    const rule = readRule(entry);
    if (rule !== undefined) rules.set(name, rule);
  }
  if (rules.size > ARGUMENTS_MAX) {
    field.findings.error(field, "too_large", `more than ${ARGUMENTS_MAX} arguments`);
  }
  return rules;
}

function readRule(field: Field): ArgumentRule | undefined {
  const map = readMap(field, ARGUMENT_FIELDS);
  if (map === undefined) return undefined;
  const has = (name: (typeof ARGUMENT_FIELDS)[number]) => map.get(name) !== undefined;
  if (OF_TEXT.some(has) && OF_NUMBERS.some(has)) {
    field.findings.error(field, "dead_rule", "nothing is both a text and a number");
  }
  const texts = map.get("one_of");
  const places = map.get("within");
  const chars = map.get("chars_max");
  const least = map.get("at_least");
  const most = map.get("at_most");
  const required = map.get("required");
  const oneOf = texts && readNonEmpty(texts, readText);
  const within = places && readNonEmpty(places, readPlace);
  const charsMax = chars && readInteger(chars, { min: 0, max: ARGUMENT_CHARS_MAX });
  const atLeast = least && readInteger(least, NUMBERS);
  const atMost = most && readInteger(most, NUMBERS);
  if (atLeast !== undefined && atMost !== undefined && atLeast > atMost) {
    field.findings.error(field, "dead_rule", "no number is so large and so small");
  }
  return {
    ...(oneOf !== undefined && { oneOf }),
    ...(within !== undefined && { within }),
    ...(charsMax !== undefined && { charsMax }),
    ...(atLeast !== undefined && { atLeast }),
    ...(atMost !== undefined && { atMost }),
    ...(required !== undefined && readBoolean(required) === true && { required: true as const }),
  };
}

/** Of an empty list nothing could be one. */
function readNonEmpty(
  field: Field,
  read: (item: Field) => string | undefined,
): readonly string[] | undefined {
  if (readList(field)?.length === 0) {
    field.findings.error(field, "dead_rule", "an empty list lets nothing be");
    return undefined;
  }
  return readListOf(field, read);
}

const readPlace = (item: Field) =>
  readMatching(item, isPlace, 'a path or URL without "..", escapes or a slash at its end');
