import { expect, test } from "vitest";
import { createPolicyScanners } from "../../../node/dataplane/content-scanners.ts";
import type { ContractFacts } from "../../../node/decision/facts.ts";
import { hold } from "../../../node/hold.ts";
import { RelayedAnswer } from "../../../node/relayed-answer.ts";
import { setKilled } from "../../../node/table/scope-cells.ts";
import { setOpenUntilNs } from "../../../node/table/table.ts";
import type { AgentPolicy } from "../../../policy/compiled-policy.ts";
import { grant } from "../../support/builders.ts";
import { AUTHORITY } from "../../support/contract-forge.ts";
import { CELLS, LoopWorld } from "./loop-world.ts";

/** A request that was allowed, and its answer that has not begun. */
async function allowed({
  granted = {},
  contract,
  stream = false,
}: {
  readonly granted?: Partial<AgentPolicy>;
  readonly contract?: ContractFacts;
  readonly stream?: boolean;
}) {
  const agent = grant(granted);
  const world = new LoopWorld({ agents: new Map([[agent.agentId, agent]]) });
  world.lend({ usdMicros: 10_000n, tokens: 10_000n, calls: 10n }, 10_000n);
  const asked = world.asked();
  if (asked.read !== undefined) asked.read = { ...asked.read, stream };
  const held = await hold(asked, world.loop);
  if (!("permit" in held)) throw new Error("not allowed");
  const facts = contract === undefined ? held.facts : { ...held.facts, contract };
  const loop = { ...world.loop, scanners: createPolicyScanners() };
  return { world, asked, answer: new RelayedAnswer(asked, { ...held, facts }, loop) };
}

const LOTS = { burst: 1_000_000, amount: 1_000_000, seconds: 1 };

test("a tool in an answer is granted where policy and the contract both grant it", async () => {
  const { answer } = await allowed({
    granted: { tools: new Map([["mcp/*", ["call"]]]) },
    contract: {
      ids: ["c"],
      effective: {
        ...AUTHORITY,
        tools: new Map([
          ["mcp/jira/*", ["call"]],
          ["shell", ["call"]],
        ]),
      },
      rate: { req: LOTS, tok: LOTS, usd_u: LOTS },
      depthLeft: 4,
    },
  });
  const names = ["mcp/jira/search", "mcp/github/read", "shell"];
  expect(names.map((name) => answer.toolGranted(name, "call"))).toEqual([true, false, false]);
});

test("the first text of a stream is told once, and of a document never", async () => {
  for (const [stream, times] of [
    [true, 1],
    [false, 0],
  ] as const) {
    const { world, answer } = await allowed({ stream });
    for (let i = 0; i < 3; i++) answer.onText(10);
    expect(world.told.filter((what) => what.startsWith("first text"))).toHaveLength(times);
  }
});

test("what is found out of its key later changes nothing of what it was allowed by", async () => {
  const { asked, answer } = await allowed({});
  const { identity } = asked;
  answer.asked.identity = { missing: "key_revoked" };
  expect(answer.asked.identity).toEqual({ missing: "key_revoked" });
  expect(asked.identity).toBe(identity);
});

test("a permit that was refused where it was to be used is told by its reason", async () => {
  const { world, asked, answer } = await allowed({});
  setOpenUntilNs(world.table, 0n);
  expect(answer.refusedBecause()).toBe("mesh_stale");
  setOpenUntilNs(world.table, world.clock.monoNs() + 1_000_000_000n);
  world.canAllow = false;
  expect(answer.refusedBecause()).toBe("audit_unavailable");
  setKilled(world.table, CELLS.agent, true);
  expect([answer.refusedBecause(), asked.row?.row]).toEqual(["killed_agent", world.row.row]);
});
