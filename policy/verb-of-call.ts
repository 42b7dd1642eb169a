import type { ToolVerb } from "./compiled-policy.ts";
import { covering } from "./covering.ts";

/**
 * What calling the tool does, and so which verb a grant must have for it: as policy says of its name,
 * else of the narrowest `X/*` that covers it, else `call`.
 */
export function verbOfCall(verbs: ReadonlyMap<string, ToolVerb>, name: string): ToolVerb {
  return covering(verbs, name) ?? "call";
}
