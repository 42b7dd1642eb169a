import { TOOL_VERBS, type ToolsPolicy, type ToolVerb } from "./compiled-policy.ts";
import * as defaults from "./defaults.ts";
import { type Field, readEntries, readMap, readWord } from "./field-reader.ts";
import { isPattern } from "./pattern.ts";
import { readArguments } from "./read-arguments.ts";

export const TOOLS_FIELDS = ["verbs", "arguments"] as const;

/** A policy that says nothing of tools but who is granted which. */
export const NO_TOOLS: ToolsPolicy = { verbs: new Map(), arguments: new Map() };

/** Reads what holds of tools for everybody. */
export function readToolsPolicy(field: Field): ToolsPolicy {
  const map = readMap(field, TOOLS_FIELDS);
  const verbs = map?.get("verbs");
  const rules = map?.get("arguments");
  return {
    verbs: verbs === undefined ? NO_TOOLS.verbs : readVerbs(verbs),
    arguments: rules === undefined ? NO_TOOLS.arguments : readArguments(rules),
  };
}

function readVerbs(field: Field): ReadonlyMap<string, ToolVerb> {
  const verbs = new Map<string, ToolVerb>();
  for (const [pattern, entry] of readEntries(field) ?? []) {
    if (!isPattern(pattern)) {
      const message = 'is not a tool such as "run_shell" or "mcp/github/*"';
      entry.findings.error(entry, "malformed", message);
    }
    const verb = readWord(entry, TOOL_VERBS);
    if (verb !== undefined) verbs.set(pattern, verb);
  }
  if (verbs.size > defaults.TOOL_VERBS_MAX) {
    field.findings.error(field, "too_large", `more than ${defaults.TOOL_VERBS_MAX} tools`);
  }
  return verbs;
}
