import type { ReadRequest } from "./dialect.ts";
import type { FoundRoute } from "./registry.ts";

/** The one model of a provider that is an MCP server. */
const SERVER_MODEL = "mcp";

/** A request with what its path says of it: the model, or the server whose tools it calls. */
export function withPathNames(read: ReadRequest, found: FoundRoute): ReadRequest {
  const { dialect, model } = found;
  if (model === undefined) return read;
  if (dialect.family !== "mcp") return { ...read, model };
  const tools = read.tools.map((use) => ({
    ...use,
    name: use.name && grantedName(use.name, found),
  }));
  return { ...read, model: `${model}/${SERVER_MODEL}`, tools };
}

/** The name under which a tool is granted: those of MCP servers have their server's before it. */
export function grantedName(tool: string, { dialect, model }: FoundRoute): string {
  return dialect.family === "mcp" ? `mcp/${model}/${tool}` : tool;
}
