import { expect, test } from "vitest";
import type { FoundRoute } from "../../../node/dataplane/dialects/registry.ts";
import type { RequestHead } from "../../../node/dataplane/exchange.ts";
import { createMcpSessions } from "../../../node/dataplane/mcp-sessions.ts";
import { SESSION_HEADER, sessionHolder, sessionOf } from "../../../node/mcp-session.ts";

const FOUND = { dialect: { family: "mcp" }, model: "files" } as unknown as FoundRoute;
const sessions = createMcpSessions(Buffer.alloc(32, 7));
const OWN = sessions.given(sessionHolder("research/worker-1", "files"), "server-id");

function named(agentId: string, ...tokens: readonly string[]) {
  const rawHeaders = tokens.flatMap((token) => [SESSION_HEADER.toUpperCase(), token]);
  const identity = { agentId, keyId: "k", contractId: undefined };
  return sessionOf({ rawHeaders } as unknown as RequestHead, FOUND, identity, { sessions });
}

test("a session is its server's own id for whom it was given to, and unknown to anybody else", () => {
  expect(named("research/worker-1", OWN)).toEqual({ id: "server-id" });
  expect(named("research/worker-2", OWN)).toEqual({ missing: "session_unknown" });
  expect(named("research/worker-1", "server-id")).toEqual({ missing: "session_unknown" });
  expect(named("research/worker-1")).toBeUndefined();
});

test("two sessions in one head are none: another reader might take the other", () => {
  expect(named("research/worker-1", OWN, OWN)).toEqual({ missing: "session_unknown" });
  expect(named("research/worker-1", OWN, "server-id")).toEqual({ missing: "session_unknown" });
});
