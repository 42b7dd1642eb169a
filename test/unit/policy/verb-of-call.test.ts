import { expect, test } from "vitest";
import type { ToolVerb } from "../../../policy/compiled-policy.ts";
import { verbOfCall } from "../../../policy/verb-of-call.ts";

const VERBS = new Map<string, ToolVerb>([
  ["run_shell", "exec"],
  ["mcp/github/*", "write"],
  ["mcp/github/admin/*", "admin"],
  ["mcp/github/search", "read"],
]);

test.each([
  ["run_shell", "exec"],
  ["run_shell_safely", "call"],
  ["mcp/github", "call"],
  ["mcp/github/create_issue", "write"],
  ["mcp/github/repo/create", "write"],
  ["mcp/github/search", "read"],
  ["mcp/github/admin/drop", "admin"],
  ["mcp/other/create_issue", "call"],
  [`mcp/github/${"x/".repeat(100_000)}y`, "call"],
])("calling %s is %s", (name, verb) => {
  expect(verbOfCall(VERBS, name)).toBe(verb);
});
