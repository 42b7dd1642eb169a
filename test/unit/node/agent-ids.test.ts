import { expect, test } from "vitest";
import { AgentIds } from "../../../node/agent-ids.ts";
import type { CompiledPolicy } from "../../../policy/compiled-policy.ts";

const naming = (...ids: string[]): CompiledPolicy =>
  ({ agents: new Map(ids.map((id) => [id, {}])) }) as unknown as CompiledPolicy;

test("lists what policy names and what was active, each once and in order", () => {
  let policy: CompiledPolicy | undefined;
  const accounts = ["agent/b/2", "overrun", "agent/a/1", "agent/zz/9"];
  const ids = new AgentIds({ policy: () => policy, accounts: () => accounts });
  expect(ids.all()).toEqual(["a/1", "b/2", "zz/9"]);
  policy = naming("b/2", "c/3", "b/1");
  expect(ids.all()).toEqual(["a/1", "b/1", "b/2", "c/3", "zz/9"]);
  accounts.splice(0, accounts.length, "agent/b/2");
  expect(ids.all()).toEqual(["b/1", "b/2", "c/3"]);
  policy = naming("d/4");
  expect(ids.all()).toEqual(["b/2", "d/4"]);
});
