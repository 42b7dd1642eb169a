import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { CommandContext } from "../../../cli/command-context.ts";
import { applyPolicy } from "../../../cli/commands/policy.ts";
import { createOutput } from "../../../cli/output.ts";
import { e2ePolicy } from "../../support/e2e-policy.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { keys, MESH, operator } from "../mesh/sample-mesh.ts";

const V = 1n;

/** An operator whose coordinator takes every policy as its first, and whose nodes say one thing after another. */
function operatorOf(...looks: readonly (readonly object[])[]) {
  const said: string[] = [];
  const left = [...looks];
  const write = (text: string) => said.push(text);
  const command = { scope: "policy", cmdId: "c", v: V, accepted: true, committed: true, nodes: [] };
  const calls = {
    getScope: async () => ({ mesh: MESH, v: V - 1n, hash: new Uint8Array(0), record: undefined }),
    putPolicyPart: async () => ({}),
    applyPolicy: async () => ({ command }),
    watchCommand: async function* () {
      yield { command: { ...command, done: true } };
    },
    listNodes: async () => ({ nodes: left.length > 1 ? left.shift() : left[0] }),
  };
  const context = {
    home: "/nowhere",
    operatorName: "olga",
    operatorKeys: () => ({ ...keys, load: () => operator }),
    coordinator: () => ({ calls }),
    output: createOutput({ out: { write }, err: { write } }, false, {}),
  } as unknown as CommandContext;
  return { context, said, looks: () => looks.length - left.length };
}

const node = (name: string, says: object) => ({
  node: name,
  live: true,
  policyVersion: 0n,
  policyRefusedVersion: 0n,
  policyRefused: "",
  ...says,
});
const inForce = { policyVersion: V };

async function apply(context: CommandContext): Promise<void> {
  using folder = tempDir();
  const file = join(folder.path, "policy.yaml");
  writeFileSync(file, e2ePolicy("http://127.0.0.1:1"));
  await applyPolicy(context, file, { wait: true });
}

test("`policy apply --wait` says which node keeps the policy before it and why, and fails", async () => {
  const why = "teams.research.models: this version knows no such provider";
  const refuses = node("n2", { policyRefusedVersion: V, policyRefused: why });
  const { context, said } = operatorOf([node("n1", inForce), refuses, node("n3", inForce)]);
  await expect(apply(context)).rejects.toThrow("refused by 1 nodes");
  expect(said.join("")).toContain(`in force 2/3\n  n2 keeps the policy before it: ${why}\n`);
});

test("it waits for whoever has not said, and is content once all decide by it", async () => {
  const { context, said, looks } = operatorOf(
    [node("n1", inForce), node("n2", {})],
    [node("n1", inForce), node("n2", inForce)],
  );
  await apply(context);
  expect(looks()).toBe(1);
  expect(said.join("")).toContain("in force 2/2\n");
});
