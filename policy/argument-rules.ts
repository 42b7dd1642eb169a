import type { ArgumentRule, ArgumentRules } from "./compiled-policy.ts";
import { covering } from "./covering.ts";

/**
 * The arguments of one call, as far as a rule can speak of them: texts of bounded length and numbers. All
 * else is undefined, and is there all the same.
 */
export type CallArguments = ReadonlyMap<string, string | number | undefined>;

/** Arguments of a tool that have rules at most; a call is looked at as far as one more. */
export const ARGUMENTS_MAX = 64;
/** Characters of an argument's name, and of a text that rules can speak of. */
export const ARGUMENT_NAME_CHARS_MAX = 128;
export const ARGUMENT_CHARS_MAX = 4096;

/**
 * The argument that breaks a rule of its tool, or that none names; undefined where all may be so.
 *
 * A tool that has rules takes the arguments that they name and no others: what nobody has thought of is
 * not granted. One that is absent breaks no rule unless it is required.
 *
 * @param given Undefined: they are no object, or one that could be read in two ways.
 */
export function refusedArgument(
  rules: ReadonlyMap<string, ArgumentRules>,
  tool: string,
  given: CallArguments | undefined,
): string | undefined {
  const ofTool = covering(rules, tool);
  if (ofTool === undefined) return undefined;
  if (given === undefined) return UNREADABLE;
  for (const [name, value] of given) {
    const rule = ofTool.get(name);
    if (rule === undefined || !obeys(value, rule)) return name;
  }
  for (const [name, { required }] of ofTool) if (required === true && !given.has(name)) return name;
  return undefined;
}

/** In the place of an argument's name, where there is none. */
const UNREADABLE = "(unreadable)";

function obeys(value: string | number | undefined, rule: ArgumentRule): boolean {
  const { oneOf, within, charsMax, atLeast, atMost } = rule;
  if (oneOf !== undefined || within !== undefined || charsMax !== undefined) {
    if (typeof value !== "string") return false;
    if (oneOf !== undefined && !oneOf.includes(value)) return false;
    if (charsMax !== undefined && value.length > charsMax) return false;
    if (within !== undefined && !within.some((place) => liesIn(value, place))) return false;
  }
  if (atLeast !== undefined || atMost !== undefined) {
    if (typeof value !== "number") return false;
    return value >= (atLeast ?? -Infinity) && value <= (atMost ?? Infinity);
  }
  return true;
}

/**
 * Whether a path or URL is a place or lies below it. One that could lead out of it again, for whoever
 * follows dots, decodes escapes or takes a backslash for a slash, does not.
 */
function liesIn(value: string, place: string): boolean {
  return value === place || (value.startsWith(`${place}/`) && isStraight(value, place));
}

function isStraight(value: string, place: string): boolean {
  if (LEADS_ELSEWHERE.test(value)) return false;
  const below = value.slice(place.length + 1).split("/");
  // A folder may be named with a slash behind it.
  return below.every((one, at) => isSegment(one) || (one === "" && at === below.length - 1));
}

function isSegment(text: string): boolean {
  return text !== "" && text !== "." && text !== "..";
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for.
const LEADS_ELSEWHERE = /[\\%?#\u0000-\u001f\u007f]/;

/** A path or URL that others can lie in: straight itself, and no slash at its end. */
export function isPlace(text: string): boolean {
  const path = text.replace(/^[a-z][a-z0-9+.-]*:\/\//, "");
  const inner = path.startsWith("/") ? path.slice(1) : path;
  return !LEADS_ELSEWHERE.test(text) && inner.split("/").every(isSegment);
}
