import { hash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { Delegation } from "../../../../authority/delegation.ts";
import { holderJwk } from "../../../../authority/holder-key.ts";
import { verifyChain } from "../../../../authority/verify-chain.ts";
import type { TrustView } from "../../../../mesh/trust.ts";
import type { ServedContract } from "../../../../node/mesh/contract-desk.ts";
import {
  type DelegationsDeps,
  delegate,
  fund,
  fundFor,
} from "../../../../node/mesh/delegations.ts";
import { type DelegationAnswer, heldHandle } from "../../../../node/thread-messages.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import {
  CarveReplySchema,
  ContractReplySchema,
  type NodeReply,
  NodeReplySchema,
  type NodeRequest,
  RateSchema,
  RefusedSchema,
} from "../../../../proto/gen/altrace/v1/mesh_pb.ts";
import {
  AUTHORITY,
  chainEnv,
  chainText,
  child,
  halved,
  NOW_S,
  operatorEntry,
  root,
  testKey,
} from "../../../support/contract-forge.ts";
import { delegationWorld, NODE } from "./delegation-world.ts";

const OTHER_NODE = testKey(40);
const AGENT = testKey(41);
const RATE = { req: 3, tok: 4, usd_u: 5 };

const WISH: Delegation = {
  agent: "research/worker-2",
  node: "",
  holder: "",
  source: "10.0.0.7",
  authority: halved(AUTHORITY),
};

let said: () => NodeReply["body"] | "silence" | Error;
let asked: NodeRequest["body"][];
let onRate: ReturnType<typeof vi.fn<(key: string) => void>>;
let desk: typeof deps.desk;
let deps: ReturnType<typeof delegationWorld>;
let parent: ServedContract;

beforeEach(async () => {
  said = () => carved("c-1");
  asked = [];
  onRate = vi.fn<(key: string) => void>();
  const clock = twinClock({ nowMs: NOW_S * 1_000 });
  const trust = {
    lookup: operatorEntry,
    nodeKey: (id: string) => (id === "node-2" ? { publicKey: OTHER_NODE.publicKey } : undefined),
  } as unknown as TrustView;
  const ask: DelegationsDeps["ask"] = async (body) => {
    asked.push(body);
    const answer = said();
    if (answer instanceof Error) throw answer;
    if (answer === "silence") return { fault: "timeout" };
    return { reply: create(NodeReplySchema, { requestId: "r", body: answer }) };
  };
  deps = delegationWorld({ trust, clock, ask, onRate });
  desk = deps.desk;
  const chain = chainText(root());
  const verified = await desk.verify(chain);
  if (typeof verified === "string") throw new Error(verified);
  parent = { keySha256: "p", chain, freshUntilNs: 1n << 62n, verified, rate: AUTHORITY.rate };
});

function rateOf({ req, tok, usd_u }: typeof RATE) {
  const bucket = (amount: number) => ({ burst: 1n, amount: BigInt(amount), seconds: 1n });
  const buckets = { requests: bucket(req), tokens: bucket(tok), usdMicros: bucket(usd_u) };
  return create(RateSchema, buckets);
}

function carved(contract: string): NodeReply["body"] {
  const parentRate = rateOf(RATE);
  return { case: "carve", value: create(CarveReplySchema, { contract, parentRate }) };
}

function refused(reason: string): NodeReply["body"] {
  return { case: "refused", value: create(RefusedSchema, { reason, message: "why" }) };
}

function granted(answer: DelegationAnswer) {
  if ("refused" in answer) throw new Error(answer.refused);
  return answer;
}

/** What a stranger who trusts the operator alone reads in the new contract. */
function leafOf(answer: DelegationAnswer) {
  const chain = verifyChain(granted(answer).chain, chainEnv());
  if ("refused" in chain) throw new Error(chain.refused);
  return chain.leaf.claims;
}

describe("a node delegates in the name of its agent", () => {
  test("by a contract that verifies, holds what was asked for and is held by the node", async () => {
    const answer = granted(await delegate(parent, WISH, deps));
    expect(leafOf(answer)).toMatchObject({
      agent: WISH.agent,
      parent: root().id,
      holder: holderJwk(NODE.publicKey),
      bearer: { sha256: hash("sha256", answer.key ?? "", "base64url"), source: WISH.source },
      authority: WISH.authority,
    });
    expect(answer.key).toMatch(/^altk_ct/);
    expect(asked).toMatchObject([{ case: "carve", value: { chain: answer.chain, node: "" } }]);
  });

  test("for an agent with its own key, and then there is no other one", async () => {
    const { x } = holderJwk(AGENT.publicKey);
    const answer = granted(await delegate(parent, { ...WISH, holder: x }, deps));
    expect(answer).not.toHaveProperty("key");
    const { holder, bearer } = leafOf(answer);
    expect({ holder, bearer }).toEqual({
      holder: holderJwk(AGENT.publicKey),
      bearer: { sha256: "", source: WISH.source },
    });
  });

  test("to another node by that node's key, and to none that the mesh does not know", async () => {
    const answer = await delegate(parent, { ...WISH, node: "node-2" }, deps);
    expect(leafOf(answer).holder).toEqual(holderJwk(OTHER_NODE.publicKey));
    asked.length = 0;
    for (const holder of ["", holderJwk(AGENT.publicKey).x]) {
      expect(await delegate(parent, { ...WISH, node: "node-9", holder }, deps)).toMatchObject({
        refused: "delegation_holder",
      });
    }
    expect(asked).toEqual([]);
  });
});

describe("what the ledger does not open is told to nobody", () => {
  test.each<[string, () => NodeReply["body"] | "silence" | Error, string]>([
    ["its no keeps its name", () => refused("budget_exhausted"), "budget_exhausted"],
    ["a name that callers do not know", () => refused("out_of_cheese"), "contract_unavailable"],
    ["a name that every object has", () => refused("constructor"), "contract_unavailable"],
    ["no answer", () => "silence", "contract_unavailable"],
    ["a way that is closed", () => new Error("closed"), "contract_unavailable"],
    ["an answer to something else", () => ({ case: undefined }), "contract_unavailable"],
  ])("%s", async (_name, answer, reason) => {
    said = answer;
    const own = chainText(root(), child(root(), { key: AGENT }));
    for (const result of [
      await delegate(parent, WISH, deps),
      await fund(parent, { chain: own, node: "" }, deps),
    ]) {
      expect(Object.keys(result).sort()).toEqual(["detail", "refused"]);
      expect(result).toMatchObject({ refused: reason });
    }
  });
});

describe("a contract that was signed without a node is funded", () => {
  const own = child(root(), { key: AGENT });

  test("for its delegator, under the chain as it came", async () => {
    const chain = chainText(root(), own);
    expect(await fund(parent, { chain, node: "node-2" }, deps)).toEqual({ contract: "c-1", chain });
    expect(asked).toMatchObject([{ case: "carve", value: { chain, node: "node-2" } }]);
    expect(onRate).toHaveBeenLastCalledWith(parent.keySha256);
  });

  test.each<[string, string, string, string]>([
    [
      "that another contract's holder delegated",
      chainText(
        root({ label: "01998f3e-7c1a-7b2c-9d3e-5f6071829309" }),
        child(root({ label: "01998f3e-7c1a-7b2c-9d3e-5f6071829309" }), { key: AGENT }),
      ),
      "",
      "contract_parent",
    ],
    [
      "that was delegated further down",
      chainText(root(), own, child(own, { key: testKey(42) })),
      "",
      "contract_parent",
    ],
    [
      "that somebody else signed",
      chainText(root(), child(root(), { key: AGENT, signedBy: testKey(66) })),
      "",
      "contract_signature",
    ],
    [
      "that gives as much as there is",
      chainText(root(), child(root(), { key: AGENT, authority: AUTHORITY })),
      "",
      "contract_not_narrower",
    ],
    [
      "that gives it to another team",
      chainText(root(), child(root(), { key: AGENT, agent: "billing/worker" })),
      "",
      "contract_team",
    ],
    ["for a node that is none", chainText(root(), own), "node-9", "delegation_holder"],
  ])("but none %s", async (_name, chain, node, reason) => {
    expect(await fund(parent, { chain, node }, deps)).toMatchObject({ refused: reason });
    expect(asked).toEqual([]);
  });
});

describe("the control plane has it funded by what the chain shows", () => {
  const top = root({ key: AGENT, bearer: { sha256: "", source: "" } });
  const chain = chainText(top, child(top, { key: testKey(42) }));
  const handle = heldHandle(top.id);
  /** The ledger's word of the delegator, and then of the carve. */
  const answering = (contract: () => NodeReply["body"], carve: () => NodeReply["body"]) => () =>
    asked.at(-1)?.case === "contract" ? contract() : carve();
  const served = (): NodeReply["body"] => ({
    case: "contract",
    value: create(ContractReplySchema, {
      chain: chainText(top),
      rate: rateOf({ req: 20, tok: 200_000, usd_u: 1_000_000 }),
    }),
  });

  test("for the contract above its last, whose rate is at once what is left", async () => {
    said = answering(served, () => carved("c-1"));
    expect(await fundFor({ chain, node: "node-2" }, deps)).toEqual({ contract: "c-1", chain });
    expect(asked).toMatchObject([
      { case: "contract", value: { contract: top.id } },
      { case: "carve", value: { chain, node: "node-2" } },
    ]);
    expect(onRate).toHaveBeenLastCalledWith(handle);
    expect(desk.known(handle)?.rate.req).toEqual({ burst: 1, amount: 3, seconds: 1 });
  });

  test("the delegator goes without that rate from before the ledger is asked", async () => {
    let meanwhile: unknown;
    said = answering(served, () => {
      meanwhile = desk.known(handle)?.rate.req.amount;
      return refused("delegation_fan_out");
    });
    const before = await desk.find(handle);
    expect(before).toMatchObject({ rate: { req: { amount: 20 } } });
    expect(await fundFor({ chain, node: "" }, deps)).toMatchObject({
      refused: "delegation_fan_out",
    });
    expect(meanwhile).toBeLessThan(20);
    expect(desk.known(handle)?.rate.req.amount).toBe(20);
  });

  test.each<[string, string, string, number]>([
    ["a root", chainText(top), "contract_order", 0],
    [
      "what somebody else signed",
      chainText(top, child(top, { signedBy: testKey(66) })),
      "contract_signature",
      0,
    ],
    ["what another node serves", chain, "contract_elsewhere", 1],
  ])("but not %s", async (_name, text, reason, questions) => {
    said = () => refused("contract_elsewhere");
    expect(await fundFor({ chain: text, node: "" }, deps)).toMatchObject({ refused: reason });
    expect(asked).toHaveLength(questions);
  });
});
