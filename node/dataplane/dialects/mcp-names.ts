import type { JsonValue } from "./dialect.ts";

const URI = /^([a-z][a-z0-9+.-]*):\/\/(.+)$/;

/**
 * The name by which a resource is granted: its URI without the two slashes behind the scheme, such as
 * `file:/project/notes.md` for `file:///project/notes.md`. Undefined for what is no such URI; what is no
 * name afterwards, for a query or a path with empty segments, no grant covers.
 */
export function resourceName(uri: JsonValue | undefined): string | undefined {
  const match = typeof uri === "string" ? URI.exec(uri) : null;
  return match === null ? undefined : `${match[1]}:${match[2]}`;
}

/** A name of a tool or a prompt. */
export function plainName(value: JsonValue | undefined): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
