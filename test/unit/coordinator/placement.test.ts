import { expect, test } from "vitest";
import { verifyEd25519 } from "../../../adapters/ed25519.ts";
import { Contracts, type ContractsOptions } from "../../../coordinator/contracts.ts";
import {
  PLACED_EVERYWHERE,
  type Placement,
  PolicyPlacement,
} from "../../../coordinator/placement.ts";
import {
  chainText,
  child,
  HOLDERS,
  MESH,
  NOW_S,
  operatorEntry,
  root,
} from "../../support/contract-forge.ts";
import { LedgerWorld } from "./ledger-world.ts";
import { smallBundle } from "./small-policy.ts";

const TEAMS = `  red:
    budget: { usd: { total: "1" } }
    defaults: { models: [openai/gpt-x], clearance: public, nodes: [edge-1, "gpu-*"] }
    agents:
      placed: {}
      moved: { nodes: [edge-2] }
  research:
    budget: { usd: { total: "1" } }
    defaults: { models: [openai/gpt-x], clearance: public }
    agents:
      planner: PLANNER`;

function placementBy(planner = "{}"): PolicyPlacement {
  const bundle = smallBundle(TEAMS.replace("PLANNER", planner));
  return new PolicyPlacement({ now: { v: 1, hashHex: planner, bundle } });
}

test("an agent is placed where policy says, and everywhere where it says nothing", () => {
  const placement = placementBy();
  const nodes = ["edge-1", "edge-10", "edge-2", "gpu-1", "gpu"];
  const of = (agent: string) => nodes.filter((node) => placement.isPlaced(node, `agent/${agent}`));
  expect(of("red/placed")).toEqual(["edge-1", "gpu-1"]);
  expect(of("red/moved")).toEqual(["edge-2"]);
  expect(of("research/planner")).toEqual(nodes);
  expect(of("red/nobody")).toEqual(nodes);
  expect(placement.isPlaced("edge-9", "overrun")).toBe(true);
});

/** Contracts over a ledger of their own, as the mesh's state and policy are at each moment. */
function contractsIn(state: { placement: Placement; readonly killed: Set<string> }): Contracts {
  const world = new LedgerWorld([
    { account: "team/research", parent: undefined, limits: [] },
    { account: "agent/research/planner", parent: "team/research", limits: [] },
  ]);
  world.nowMs = NOW_S * 1_000;
  const keys = [...HOLDERS];
  return new Contracts({
    mesh: MESH,
    clock: { nowMs: () => NOW_S * 1_000 } as ContractsOptions["clock"],
    replica: {
      state: {
        records: () => [],
        killed: (scope: string) => state.killed.has(scope),
        killsFor: (agent: string) =>
          ["global", "team/research", `agent/${agent}`]
            .filter((scope) => state.killed.has(scope))
            .map((scope) => ({ scope })),
      },
      trust: {
        lookup: operatorEntry,
        nodeKey: (node: string) => keys[Number(node.slice(1))],
        nodeIds: () => keys.map((_, at) => `n${at}`),
      },
      onRecord: () => undefined,
    } as unknown as ContractsOptions["replica"],
    verify: verifyEd25519,
    ledger: {
      contracts: async (use) => use(world.ledger.contracts),
      onLed: () => undefined,
    } as ContractsOptions["ledger"],
    placement: { isPlaced: (node, account) => state.placement.isPlaced(node, account) },
  });
}

async function opened(opening: ReturnType<Contracts["issue"]>): Promise<string> {
  const view = await opening;
  if ("refused" in view) throw new Error(view.refused);
  return `contract/${view.account.id}`;
}

test("a contract is opened and lent for only where its agent is placed, as policy says now", async () => {
  const state = { placement: placementBy("{ nodes: [n9] }"), killed: new Set<string>() };
  const contracts = contractsIn(state);
  const chain = chainText(root());
  expect(await contracts.issue(chain, { node: "" })).toMatchObject({ refused: "not_placed" });
  state.placement = placementBy('{ nodes: ["n*"] }');
  const name = await opened(contracts.issue(chain, { node: "" }));
  expect(await contracts.barred(name)).toBeUndefined();
  state.placement = placementBy("{ nodes: [n9] }");
  expect(await contracts.barred(name)).toMatchObject({ refused: "not_placed" });
});

test("K2: nothing is opened or lent below an agent that is killed, until it is revived", async () => {
  const state = { placement: PLACED_EVERYWHERE, killed: new Set<string>() };
  const contracts = contractsIn(state);
  const top = root({ agent: "research/planner" });
  const low = child(top, { agent: "research/hand" });
  const carve = () => contracts.carve(chainText(top, low), { node: "", asker: "n0" });
  const name = await opened(contracts.issue(chainText(top), { node: "" }));
  state.killed.add("agent/research/planner");
  const refused = { refused: "killed_contract", message: "agent/research/planner" };
  expect(await carve()).toMatchObject(refused);
  expect(await contracts.barred(name)).toMatchObject(refused);
  state.killed.clear();
  const below = await opened(carve());
  const above = ["global", "team/research", "agent/research/planner", name];
  for (const scope of [...above, "agent/research/hand", below]) {
    state.killed.add(scope);
    expect(await contracts.barred(below)).toMatchObject({
      refused: "killed_contract",
      message: scope,
    });
    state.killed.clear();
  }
  state.killed.add("agent/research/hand");
  expect(await contracts.barred(name)).toBeUndefined();
});

test("a lease is settled by the node that borrowed it, and by no other", () => {
  const limits = [{ unit: "calls", window: "total", limit: 100 }] as const;
  const world = new LedgerWorld([{ account: "agent/red/placed", parent: undefined, limits }]);
  const lease = world.granted("agent/red/placed", { calls: 5 }, { node: "edge-1" });
  for (const final of [false, true]) {
    const stolen = world.settle(lease, { calls: 5 }, { node: "edge-2", final });
    expect(stolen).toMatchObject({ refused: "lease_unknown" });
  }
  expect(world.settle(lease, { calls: 1 }, { node: "edge-1", final: true })).not.toHaveProperty(
    "refused",
  );
});
