import { expect, test } from "vitest";
import { createMcpSessions } from "../../../../node/dataplane/mcp-sessions.ts";

const sessions = createMcpSessions(new Uint8Array(32).fill(7));
const ID = "4c2a6a0e-server-own";

test("an id is taken from whom it was given to, and from nobody else", () => {
  const token = sessions.given("red/worker github", ID);
  expect(token).toMatch(/^[A-Za-z0-9_-]{22}\.4c2a6a0e-server-own$/);
  expect(sessions.taken("red/worker github", token)).toBe(ID);
  expect(sessions.taken("red/other github", token)).toBeUndefined();
  expect(sessions.taken("red/worker gitlab", token)).toBeUndefined();
  const elsewhere = createMcpSessions(new Uint8Array(32));
  expect(elsewhere.taken("red/worker github", token)).toBeUndefined();
});

test.each([
  ["the server's own id", ID],
  ["nothing", ""],
  ["a code alone", "AAAAAAAAAAAAAAAAAAAAAA"],
  ["an empty id", "AAAAAAAAAAAAAAAAAAAAAA."],
  ["a code that is too short", `AAAA.${ID}`],
  ["a line break", `AAAAAAAAAAAAAAAAAAAAAA.${ID}\n`],
  ["an id that is too long", `AAAAAAAAAAAAAAAAAAAAAA.${"x".repeat(600)}`],
])("%s is no session", (_what, token) => {
  expect(sessions.taken("red/worker github", token)).toBeUndefined();
});
