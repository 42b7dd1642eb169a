import type { ToolVerb } from "./compiled-policy.ts";
import { NAME_BYTES_MAX } from "./pattern.ts";

/**
 * What calling the tool does, and so which verb a grant must have for it: as policy says of its name,
 * else of the narrowest `X/*` that covers it, else `call`.
 */
export function verbOfCall(verbs: ReadonlyMap<string, ToolVerb>, name: string): ToolVerb {
  if (verbs.size === 0 || name.length > NAME_BYTES_MAX) return "call";
  const own = verbs.get(name);
  if (own !== undefined) return own;
  for (let end = name.lastIndexOf("/"); end > 0; end = name.lastIndexOf("/", end - 1)) {
    const covering = verbs.get(`${name.slice(0, end)}/*`);
    if (covering !== undefined) return covering;
  }
  return "call";
}
