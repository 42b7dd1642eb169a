import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import {
  ContractRequestSchema,
  DistrustRequestSchema,
  type NodeReply,
} from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { LimitSchema, PolicySchema } from "../../../proto/gen/altrace/v1/record_pb.ts";
import { CoordinatorWorld, LIMITS, type TestNode, type WorldOptions } from "./coordinator-world.ts";

const SCOPE = "distrust/openai/gpt-5";

async function mesh(options?: WorldOptions) {
  const world = new CoordinatorWorld(options);
  await world.founded();
  const node = await world.addNode("n1");
  const body = Buffer.from(JSON.stringify(LIMITS));
  const value = create(PolicySchema, {
    sha256: createHash("sha256").update(body).digest(),
    size: BigInt(body.length),
    body,
  });
  await world.parts.commands.carry(world.sign("policy", { case: "policy", value }), ["policy"]);
  await world.until(() => world.parts.replica.state.get("policy") !== undefined);
  return { world, node };
}

function raise(
  node: TestNode,
  milli: bigint,
  model = "gpt-5",
  era = 0n,
): Promise<NodeReply["body"]> {
  const value = create(DistrustRequestSchema, { provider: "openai", model, milli, era });
  return node.ask({ case: "distrust", value });
}

const saidOf = (body: NodeReply["body"]): unknown =>
  body.case === "refused" ? body.value.reason : body.case === "distrust" && body.value.milli;

function milliOf(of: { readonly state: CoordinatorWorld["parts"]["replica"]["state"] }) {
  const op = of.state.get(SCOPE)?.op;
  const known = op?.case === "limit" ? op.value.of : undefined;
  return known?.case === "distrust" ? known.value.milli : undefined;
}

test("one node's bill is every node's record, and one that says less changes nothing", async () => {
  const { world, node } = await mesh();
  const other = await world.addNode("n2");
  expect(saidOf(await raise(node, 2_000n))).toBe(2_000n);
  await world.until(() => milliOf(other) === 2_000n);
  expect(world.parts.replica.state.get(SCOPE)).toMatchObject({ v: 1, operator: "node/n1" });
  expect(world.events("distrust_raised")).toEqual([
    { node: "n1", model: "openai/gpt-5", milli: 2_000 },
  ]);
  expect(saidOf(await raise(other, 1_500n))).toBe(2_000n);
  expect(world.parts.replica.state.get(SCOPE)?.v).toBe(1);
  expect(saidOf(await raise(other, 3_000n))).toBe(3_000n);
  await world.until(() => milliOf(node) === 3_000n);
  expect(world.parts.replica.state.get(SCOPE)?.v).toBe(2);
});

test("an operator sets it lower, what was learnt before is answered by that, and later bills raise it", async () => {
  const { world, node } = await mesh();
  await raise(node, 5_000n);
  await world.until(() => milliOf(node) === 5_000n);
  const distrust = { case: "distrust" as const, value: { milli: 1_100n, era: 1n } };
  const op = { case: "limit" as const, value: create(LimitSchema, { of: distrust }) };
  await world.parts.commands.carry(world.sign(SCOPE, op), ["limit"]);
  await world.until(() => milliOf(node) === 1_100n);
  expect(saidOf(await raise(node, 5_000n))).toBe(1_100n);
  expect(saidOf(await raise(node, 1_300n, "gpt-5", 2n))).toBe("distrust_era_unknown");
  for (const milli of [1_300n, 1_400n]) {
    expect(saidOf(await raise(node, milli, "gpt-5", 1n))).toBe(milli);
    await world.until(() => milliOf(node) === milli);
  }
  // Nothing that was ever said makes it smaller again.
  expect(milliOf(world.parts.replica)).toBe(1_400n);
});

test("a coordinator that starts again still says so", async () => {
  const { world, node } = await mesh();
  await raise(node, 2_000n);
  await world.until(() => milliOf(node) === 2_000n);
  world.crash();
  await world.start();
  await world.until(() => milliOf(world.parts.replica) === 2_000n);
});

test("a node cannot raise what no policy names, out of bounds, or faster than its pace", async () => {
  const { world, node } = await mesh();
  expect(saidOf(await raise(node, 2_000n, "made-up"))).toBe("model_unknown");
  expect(saidOf(await raise(node, 100_001n))).toBe("malformed_request");
  expect(saidOf(await raise(node, 999n))).toBe("malformed_request");
  expect(saidOf(await raise(node, 2_000n, "a model"))).toBe("malformed_request");
  let milli = 1_100n;
  let answer: unknown;
  for (let asked = 0; asked < 64 && answer !== "distrust_limited"; asked++) {
    milli += 1n;
    answer = saidOf(await raise(node, milli));
    await world.pass(50);
  }
  expect(answer).toBe("distrust_limited");
  // Another node's pace is its own.
  const other = await world.addNode("n2");
  expect(saidOf(await raise(other, 5_000n))).toBe(5_000n);
});

test("a start of a node that has ended raises nothing", async () => {
  const { world, node } = await mesh();
  const ended = node.bootId;
  world.clock.advance(1);
  node.bootId = world.newId();
  node.beat({ n: 1n });
  await world.flush();
  node.bootId = ended;
  expect(saidOf(await raise(node, 2_000n))).toBe("boot_ended");
});

test("a broken disk and a ledger that is led no more answer for themselves, and are no bugs of ours", async () => {
  let isBroken = false;
  const { world, node } = await mesh({
    store: { commitFate: () => (isBroken ? "fails_but_persisted" : "good") },
  });
  isBroken = true;
  expect(saidOf(await raise(node, 2_000n))).toBe("unavailable");
  await world.parts.ledger.stop();
  const value = create(ContractRequestSchema, { keySha256: new Uint8Array(32) });
  expect(saidOf(await node.ask({ case: "contract", value }))).toBe("unavailable");
  const failed = world.events("store_failed");
  expect(failed).toMatchObject([{ method: "distrust" }, { method: "contract" }]);
  expect(world.events("handler_failed")).toEqual([]);
});
