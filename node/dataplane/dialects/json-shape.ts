import type { JsonObject, JsonValue } from "./dialect.ts";

/** How deep an answer may nest; those of providers stay below a dozen. */
export const ANSWER_DEPTH_MAX = 64;

/** The value as an object; undefined for everything else, arrays and null too. */
export function asObject(value: JsonValue | undefined): JsonObject | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
}

/** An index into a list of an answer. */
export function asIndex(value: JsonValue | undefined): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
