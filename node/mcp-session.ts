import type { FoundRoute } from "./dataplane/dialects/registry.ts";
import type { RequestHead } from "./dataplane/exchange.ts";
import { type Identity, isMissing, type Missing } from "./decision/facts.ts";
import type { LoopContext } from "./loop-context.ts";

/** The header in which a client and an MCP server name their session. */
export const SESSION_HEADER = "mcp-session-id";

/** Whose session it is: one agent's, at one server. */
export function sessionHolder(agentId: string, server: string): string {
  return `${agentId} ${server}`;
}

/**
 * The session that a request names, by the server's own id. One that was not given to this agent for
 * this server does not exist for it, whoever else may have it.
 */
export function sessionOf(
  { rawHeaders }: RequestHead,
  found: FoundRoute | Missing,
  identity: Identity | Missing,
  { sessions }: Pick<LoopContext, "sessions">,
): { readonly id: string } | Missing | undefined {
  if (isMissing(found) || found.dialect.family !== "mcp" || isMissing(identity)) return undefined;
  const named = rawHeaders.flatMap((name, i) =>
    i % 2 === 0 && name.toLowerCase() === SESSION_HEADER ? [rawHeaders[i + 1] as string] : [],
  );
  const [token] = named;
  if (token === undefined) return undefined;
  const holder = sessionHolder(identity.agentId, found.model ?? "");
  const id = named.length === 1 ? sessions.taken(holder, token) : undefined;
  return id === undefined ? { missing: "session_unknown" } : { id };
}
