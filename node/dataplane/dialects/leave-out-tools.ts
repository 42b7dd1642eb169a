import { collectTexts } from "./collect-texts.ts";
import type { JsonObject, JsonValue } from "./dialect.ts";
import { asObject } from "./json-shape.ts";

/** Whether a tool may be offered, by the name it is granted under. */
export type MayOffer = (name: string) => boolean;

/** A request without the tools that may not be offered, and the names of those. */
export type ToolsLeftOut = { readonly body: JsonObject; readonly names: readonly string[] };

/** Where a dialect's requests have their tools. */
export type ToolPlaces = {
  /** The name of one tool; undefined where it has none that can be judged. */
  readonly nameOf: (tool: JsonObject) => string | undefined;
  /** Members that are lists of tools. */
  readonly lists: readonly string[];
  /** Members that say which tool to call, and others that mean nothing without tools. */
  readonly choices: readonly string[];
};

/**
 * Leaves out of a request's lists what may not be offered. The rest stays as it is: a tool without a
 * name, and one that a choice insists on, without which the request would be another one. Both are
 * then refused by the chain.
 *
 * @returns Undefined: there is nothing to leave out.
 */
export function leaveOutTools(
  body: JsonObject,
  { nameOf, lists, choices }: ToolPlaces,
  mayOffer: MayOffer,
): ToolsLeftOut | undefined {
  const wanted = choices.map((member) => body[member] ?? null);
  const insisted = insistedOn(wanted);
  const names: string[] = [];
  const isKept = (tool: JsonValue) => {
    const members = asObject(tool);
    const name = members === undefined ? undefined : nameOf(members);
    if (name === undefined || insisted.has(name) || mayOffer(name)) return true;
    names.push(name);
    return false;
  };
  const kept = lists.map((member): readonly [string, JsonValue] => {
    const tools = body[member];
    return [member, Array.isArray(tools) ? tools.filter(isKept) : (tools ?? null)];
  });
  if (names.length === 0) return undefined;
  const isEmpty = kept.every(([, tools]) => !Array.isArray(tools) || tools.length === 0);
  if (isEmpty && wanted.some(needsTools)) return undefined;
  return { body: withLists(body, kept, isEmpty ? choices : []), names };
}

/** The body with the lists that are left, in their places; empty ones and what goes with them are gone. */
function withLists(
  body: JsonObject,
  kept: readonly (readonly [string, JsonValue])[],
  gone: readonly string[],
): JsonObject {
  const lists = new Map(kept);
  return Object.fromEntries(
    Object.entries(body).flatMap(([name, value]): [string, JsonValue][] => {
      const tools = lists.get(name);
      if (gone.includes(name) || (Array.isArray(tools) && tools.length === 0)) return [];
      return [[name, Array.isArray(tools) ? tools : value]];
    }),
  );
}

/** Every text of a choice: whatever way a dialect names a tool in it, the name is among them. */
function insistedOn(choices: readonly JsonValue[]): ReadonlySet<string> {
  const texts: string[] = [];
  for (const choice of choices) if (typeof choice !== "string") collectTexts(choice, texts);
  return new Set(texts);
}

/** Words by which dialects say that some tool, whichever, has to be called. */
const NEEDED: ReadonlySet<string> = new Set(["required", "any"]);

function needsTools(choice: JsonValue): boolean {
  const texts: string[] = [];
  collectTexts(choice, texts);
  return texts.some((text) => NEEDED.has(text.toLowerCase()));
}
