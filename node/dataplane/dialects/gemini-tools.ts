import type { JsonObject, JsonValue } from "./dialect.ts";
import { asObject } from "./json-shape.ts";
import { leaveOutTools, type MayOffer, type ToolsLeftOut } from "./leave-out-tools.ts";

/** Both spellings of this API, of which a request has one at each place. */
const LISTS = ["functionDeclarations", "function_declarations"];
const CONFIGS = ["toolConfig", "tool_config"];

/**
 * The dialect has its functions in lists within a list; what says which to call stands beside that. So
 * they are looked at as one list, and put back into their places.
 */
export function leaveOutDeclarations(
  body: JsonObject,
  mayOffer: MayOffer,
): ToolsLeftOut | undefined {
  const { tools } = body;
  if (!Array.isArray(tools)) return undefined;
  const declared = tools.flatMap((tool) => LISTS.flatMap((list) => listed(tool, list)));
  const configs = CONFIGS.flatMap((name) =>
    name in body ? [[name, body[name] as JsonValue]] : [],
  );
  const flat: JsonObject = { tools: declared, ...Object.fromEntries(configs) };
  const left = leaveOutTools(
    flat,
    {
      nameOf: ({ name }) => (typeof name === "string" ? name : undefined),
      lists: ["tools"],
      choices: CONFIGS,
    },
    mayOffer,
  );
  if (left === undefined) return undefined;
  const kept = new Set(Array.isArray(left.body.tools) ? left.body.tools : []);
  const { tools: _, ...rest } = body;
  const remaining = tools.flatMap((tool) => withKept(tool, kept));
  if (remaining.length > 0) return { body: { ...rest, tools: remaining }, names: left.names };
  for (const name of CONFIGS) delete rest[name];
  return { body: rest, names: left.names };
}

function listed(tool: JsonValue, list: string): readonly JsonValue[] {
  const declared = asObject(tool)?.[list];
  return Array.isArray(declared) ? declared : [];
}

/** The tool with what is left of its declarations; one that had nothing else is gone. */
function withKept(tool: JsonValue, kept: ReadonlySet<JsonValue>): readonly JsonValue[] {
  const members = asObject(tool);
  if (members === undefined) return [tool];
  const left = Object.entries(members).flatMap(([name, value]): [string, JsonValue][] => {
    if (!LISTS.includes(name) || !Array.isArray(value)) return [[name, value]];
    const declared = value.filter((one) => kept.has(one));
    return declared.length === 0 ? [] : [[name, declared]];
  });
  return left.length === 0 ? [] : [Object.fromEntries(left)];
}
