import { createHash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test, vi } from "vitest";
import { checkpointText, signCheckpoint } from "../../../audit/checkpoint.ts";
import { encodeNote, encodeVkey, KEY_TYPES } from "../../../audit/signed-note.ts";
import { encodeAddCheckpoint } from "../../../audit/witness.ts";
import {
  NodeRequests,
  type RequestHandlers,
  refusedBody,
} from "../../../coordinator/node-requests.ts";
import { SYNC_PACE } from "../../../coordinator/sync-pace.ts";
import { COORDINATOR_VERSION_MAX, signRecord } from "../../../mesh/record.ts";
import { seal } from "../../../mesh/sealed.ts";
import { MeshState } from "../../../mesh/state.ts";
import { type Bus, BusFault, type BusMessage } from "../../../ports/bus.ts";
import {
  type Answer,
  BatchRequestSchema,
  EnrolRequestSchema,
  FetchRequestSchema,
  LeaseRequestSchema,
  NodeRequestSchema,
  NonceRequestSchema,
  type Question,
  SettleRequestSchema,
  Standing,
  StandingRequestSchema,
  StateRequestSchema,
  SyncRequestSchema,
  WitnessRequestSchema,
} from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import {
  KillSchema,
  LimitSchema,
  PolicySchema,
  ReviveSchema,
  SignedRecordSchema,
  Unit,
} from "../../../proto/gen/altrace/v1/record_pb.ts";
import { requestSubject } from "../../../proto/subjects.ts";
import { comesTrue } from "../../support/comes-true.ts";
import { signerOf } from "../audit/sample-log.ts";
import {
  CoordinatorWorld,
  LIMITS,
  MESH,
  TestNode,
  type WorldOptions,
} from "./coordinator-world.ts";

const BOT = "agent/pay/bot";

async function meshWithNode(options: WorldOptions = {}) {
  const world = new CoordinatorWorld(options);
  await world.founded();
  const node = await world.addNode("n1");
  await applyPolicy(world);
  return { world, node };
}

async function applyPolicy(world: CoordinatorWorld, text = JSON.stringify(LIMITS)) {
  const body = Buffer.from(text);
  const sha256 = createHash("sha256").update(body).digest();
  const value = create(PolicySchema, { sha256, size: BigInt(body.length), body });
  const bytes = world.sign("policy", { case: "policy", value });
  const command = await world.parts.commands.carry(bytes, ["policy"]);
  await world.until(() => command.committed);
  return { body, sha256 };
}

const lease = (account: string, usd: bigint) => ({
  case: "lease" as const,
  value: create(LeaseRequestSchema, {
    account,
    need: { usdMicros: usd },
    want: { usdMicros: usd },
  }),
});

const settle = (leaseId: string, epoch: bigint, usd: bigint, final = false) => ({
  case: "settle" as const,
  value: create(SettleRequestSchema, { leaseId, epoch, spent: { usdMicros: usd }, final }),
});

const standing = (
  level: Standing,
  more: { agent?: string; cause?: string; askKill?: boolean } = {},
) => ({
  case: "standing" as const,
  value: create(StandingRequestSchema, { agent: "pay/bot", standing: level, ...more }),
});

const batch = (questions: readonly (readonly [id: string, body: Question["body"]])[]) => ({
  case: "batch" as const,
  value: create(BatchRequestSchema, {
    questions: questions.map(([requestId, body]) => ({ requestId, body })),
  }),
});

const reasonOf = (body: { case: string | undefined; value?: unknown }): string =>
  body.case === "refused" ? (body.value as { reason: string }).reason : `answered ${body.case}`;

describe("a batch", () => {
  const answersOf = (body: { case: string | undefined; value?: unknown }): readonly Answer[] =>
    body.case === "batch" ? (body.value as { answers: Answer[] }).answers : [];

  test("is answered question by question, in one commit of the ledger", async () => {
    let commits = 0;
    const { node } = await meshWithNode({
      store: {
        commitFate: (writes) => {
          if (writes.some(({ key }) => key.startsWith("ledger/lease/"))) commits += 1;
          return "good";
        },
      },
    });
    const reply = await node.ask(
      batch([
        ["q1", lease(BOT, 2n)],
        ["q2", lease("agent/pay/nobody", 1n)],
        ["q3", settle("none", 1n, 1n)],
        ["q4", { case: undefined }],
        ["q5", lease(BOT, 1n)],
      ]),
    );
    expect(answersOf(reply).map(({ requestId, body }) => [requestId, body.case])).toEqual([
      ["q1", "lease"],
      ["q2", "refused"],
      ["q3", "refused"],
      ["q4", "refused"],
      ["q5", "lease"],
    ]);
    expect(
      answersOf(reply)
        .slice(1, 4)
        .map(({ body }) => reasonOf(body)),
    ).toEqual(["account_unknown", "lease_unknown", "malformed_request"]);
    expect(commits).toBe(1);
  });

  test("the same question is the same lease, however it comes", async () => {
    const { world, node } = await meshWithNode();
    const requestId = world.newId();
    const alone = await node.ask(lease(BOT, 2n), { requestId });
    const [again] = answersOf(await node.ask(batch([[requestId, lease(BOT, 2n)]])));
    expect(again?.body.value).toMatchObject({
      leaseId: (alone.value as { leaseId: string }).leaseId,
    });
    expect(
      (await world.parts.ledger.rows(BOT)).find(({ unit }) => unit === "usd_micros"),
    ).toMatchObject({
      reserved: Number((alone.value as { amount: { usdMicros: bigint } }).amount.usdMicros),
    });
  });

  test("too many questions, or one without a name, get nothing at all", async () => {
    const { world, node } = await meshWithNode();
    const many = Array.from({ length: 257 }, (_, no) => [`q${no}`, lease(BOT, 1n)] as const);
    expect(reasonOf(await node.ask(batch(many)))).toBe("malformed_request");
    expect(reasonOf(await node.ask(batch([["q/1", lease(BOT, 1n)]])))).toBe("malformed_request");
    expect(await world.parts.ledger.rows(BOT)).toMatchObject([{ reserved: 0 }]);
  });
});

describe("who is answered", () => {
  test("Q1: nobody but the node whose key signed, on its own subject", async () => {
    const { world, node } = await meshWithNode();
    const other = await world.addNode("n2");
    const nonce = {
      case: "nonce" as const,
      value: create(NonceRequestSchema, { nonce: Buffer.from("12345678") }),
    };
    const send = async (as: Parameters<TestNode["ask"]>[1]): Promise<string> =>
      node.ask(nonce, as).then(
        () => "answered",
        (error: { code?: string }) => error.code ?? "failed",
      );
    expect(await send({})).toBe("answered");
    expect(await send({ signer: other.signer })).toBe("timeout");
    expect(await send({ node: "n2" })).toBe("timeout");
    expect(await send({ subjectNode: "n2" })).toBe("timeout");
    expect(await send({ signer: world.keys.loadOrCreate("stranger") })).toBe("timeout");
    expect(await send({ requestId: "" })).toBe("timeout");
  });

  test("a request on the subject of another method is not answered", async () => {
    const { world, node } = await meshWithNode();
    const request = create(NodeRequestSchema, {
      node: "n1",
      bootId: node.bootId,
      requestId: world.newId(),
      body: lease(BOT, 1n),
    });
    const bytes = seal("request", toBinary(NodeRequestSchema, request), node.signer);
    const asked = world.outside.ask("alt.req.n1.nonce", bytes, 1_000);
    asked.catch(() => undefined);
    await world.pass(1_500);
    await expect(asked).rejects.toThrow("timeout");
    expect(await world.parts.ledger.rows(BOT)).toMatchObject([{ reserved: 0 }]);
  });

  test("a removed node is not answered", async () => {
    const { world, node } = await meshWithNode();
    const op = { case: "kill" as const, value: create(KillSchema, {}) };
    const removal = await world.parts.commands.carry(world.sign("node/n1", op), ["kill"]);
    await world.until(() => removal.committed);
    await expect(node.ask(lease(BOT, 1n))).rejects.toThrow("timeout");
  });
});

describe("nonce", () => {
  test("answers with the clock that digests show", async () => {
    const { world, node } = await meshWithNode();
    const value = create(NonceRequestSchema, { nonce: Buffer.from("0123456789") });
    const body = await node.ask({ case: "nonce", value });
    if (body.case !== "nonce") throw new Error(reasonOf(body));
    expect(Buffer.from(body.value.nonce).toString()).toBe("0123456789");
    expect(body.value.replica).toBe("c1");
    expect(Number(body.value.monoMs)).toBe(world.parts.digest.monoMs());
    const long = create(NonceRequestSchema, { nonce: new Uint8Array(65) });
    expect(reasonOf(await node.ask({ case: "nonce", value: long }))).toBe("malformed_request");
  });
});

describe("state", () => {
  const everything = {
    case: "sync" as const,
    value: create(SyncRequestSchema, { sums: new Uint8Array(2_048) }),
  };

  test("is told a node at its own pace, whole several times, and others meanwhile", async () => {
    const { world, node } = await meshWithNode();
    const other = await world.addNode("n2");
    const { size } = world.parts.replica.state;
    const wholes = Math.ceil((SYNC_PACE.wholes * size + SYNC_PACE.recordsMin) / 64);
    for (let i = 0; i < wholes; i++) expect((await node.ask(everything)).case).toBe("sync");
    expect(reasonOf(await node.ask(everything))).toBe("sync_limited");
    const pages = { case: "state" as const, value: create(StateRequestSchema, {}) };
    expect(reasonOf(await node.ask(pages))).toBe("sync_limited");
    expect((await other.ask(everything)).case).toBe("sync");
    world.clock.advance(60_000);
    expect((await node.ask(everything)).case).toBe("sync");
  });
});

describe("lease and settle", () => {
  test("lend from what policy gives, and take back what is left", async () => {
    const { world, node } = await meshWithNode();
    const body = await node.ask(lease(BOT, 400_000n));
    if (body.case !== "lease") throw new Error(reasonOf(body));
    expect(body.value).toMatchObject({ account: BOT, epoch: 1n, ttlMs: 300_000n });
    expect(body.value.amount).toMatchObject({ usdMicros: 400_000n });
    expect(body.value.unlimited).toEqual([Unit.TOKENS, Unit.CALLS]);
    const { leaseId, epoch } = body.value;
    const settled = await node.ask(settle(leaseId, epoch, 150_000n, true));
    expect(settled).toMatchObject({ case: "settle", value: { final: true } });
    const [row] = await world.parts.ledger.rows(BOT);
    expect(row).toMatchObject({ spent: 150_000, reserved: 0, available: 2_850_000 });
  });

  test("the same request id gets the same lease, also from a coordinator that was restarted", async () => {
    const { world, node } = await meshWithNode();
    const requestId = world.newId();
    const first = await node.ask(lease(BOT, 400_000n), { requestId });
    world.crash();
    await world.founded();
    const again = await node.ask(lease(BOT, 400_000n), { requestId });
    expect(again.case === "lease" && again.value.leaseId).toBe(
      first.case === "lease" && first.value.leaseId,
    );
    expect((await world.parts.ledger.rows(BOT))[0]?.reserved).toBe(400_000);
  });

  test("say why not", async () => {
    const { world, node } = await meshWithNode();
    expect(reasonOf(await node.ask(lease(BOT, 3_000_001n)))).toBe("budget_exhausted");
    expect(reasonOf(await node.ask(lease("overrun", 1_000_001n)))).toBe("overrun_exhausted");
    expect(reasonOf(await node.ask(lease("agent/pay/ghost", 1n)))).toBe("account_unknown");
    for (const account of ["team/pay", "global", "agent/pay", "", "agent/pay/bot/x"]) {
      expect(reasonOf(await node.ask(lease(account, 1n)))).toBe("malformed_request");
    }
    expect(reasonOf(await node.ask(lease(BOT, 2n ** 60n)))).toBe("malformed_request");
    expect(reasonOf(await node.ask(settle("nothing", 1n, 0n)))).toBe("lease_unknown");
    expect(world.parts.ledger).toBeDefined();
  });

  test("say no to nothing under a policy that the node has and they have not read", async () => {
    const { world, node } = await meshWithNode();
    const v = BigInt(world.parts.replica.state.get("policy")?.v ?? 0);
    const under = (account: string, usd: bigint, policyV: bigint) => {
      const { value } = lease(account, usd);
      return node.ask({ case: "lease", value: { ...value, policyV } });
    };
    expect(reasonOf(await under(BOT, 3_000_001n, v + 1n))).toBe("policy_unread");
    expect(reasonOf(await under("agent/pay/ghost", 1n, v + 1n))).toBe("policy_unread");
    expect(reasonOf(await under(BOT, 1n, v + 1n))).toBe("answered lease");
    expect(reasonOf(await under(BOT, 3_000_001n, v))).toBe("budget_exhausted");
  });

  test("Q4: nothing is lent for the killed, and their leases are still settled", async () => {
    const { world, node } = await meshWithNode();
    const body = await node.ask(lease(BOT, 400_000n));
    if (body.case !== "lease") throw new Error(reasonOf(body));
    for (const [scope, reason] of [
      [BOT, "killed_agent"],
      ["team/pay", "killed_team"],
      ["global", "killed_global"],
    ] as const) {
      const cmdId = world.newId();
      await world.parts.commands.kill({ cmdId, scope, reason: "", cause: "", operator: "olga" });
      expect(reasonOf(await node.ask(lease(BOT, 1n)))).toBe(reason);
    }
    const { leaseId, epoch } = body.value;
    expect((await node.ask(settle(leaseId, epoch, 1n, true))).case).toBe("settle");
  });

  test("Q4: what was lent before a kill, and not heard of, is told once more with no time left", async () => {
    const { world, node } = await meshWithNode();
    const requestId = world.newId();
    const granted = await node.ask(lease(BOT, 400_000n), { requestId });
    const cmdId = world.newId();
    await world.parts.commands.kill({ cmdId, scope: BOT, reason: "", cause: "", operator: "olga" });
    const again = await node.ask(lease(BOT, 400_000n), { requestId });
    if (again.case !== "lease" || granted.case !== "lease") throw new Error(reasonOf(again));
    expect(again.value.leaseId).toBe(granted.value.leaseId);
    expect(again.value.ttlMs).toBe(0n);
    const { leaseId, epoch } = again.value;
    expect((await node.ask(settle(leaseId, epoch, 0n, true))).case).toBe("settle");
    expect((await world.parts.ledger.rows(BOT))[0]?.reserved).toBe(0);
  });

  test("Q4: a question refused for a kill stays refused, whatever comes of the kill", async () => {
    const { world, node } = await meshWithNode();
    const requestId = world.newId();
    const cmdId = world.newId();
    await world.parts.commands.kill({ cmdId, scope: BOT, reason: "", cause: "", operator: "olga" });
    expect(reasonOf(await node.ask(lease(BOT, 1n), { requestId }))).toBe("killed_agent");
    const op = { case: "revive" as const, value: create(ReviveSchema, {}) };
    const { commands, replica } = world.parts;
    await commands.carry(world.sign(BOT, op), ["revive"]);
    await world.until(() => !replica.state.killed(BOT));
    // A copy of the question that the network held back: nobody waits for its answer.
    expect(reasonOf(await node.ask(lease(BOT, 1n), { requestId }))).toBe("killed_agent");
    expect((await node.ask(lease(BOT, 1n))).case).toBe("lease");
  });

  test("Q4: nothing is lent for agents that are placed elsewhere", async () => {
    const { node } = await meshWithNode({
      placement: { isPlaced: (on, account) => on === "n2" && account === BOT },
    });
    expect(reasonOf(await node.ask(lease(BOT, 1n)))).toBe("not_placed");
    expect(reasonOf(await node.ask(standing(Standing.BLOCK)))).toBe("not_placed");
    expect((await node.ask(lease("overrun", 1n))).case).toBe("lease");
  });

  test("Q4: nothing is taken back for an agent that was placed elsewhere since", async () => {
    let placed = "n1";
    const { world, node } = await meshWithNode({
      placement: { isPlaced: (on, account) => account !== BOT || on === placed },
    });
    const body = await node.ask(lease(BOT, 400_000n));
    if (body.case !== "lease") throw new Error(reasonOf(body));
    const { leaseId, epoch } = body.value;
    placed = "n2";
    expect(reasonOf(await node.ask(settle(leaseId, epoch, 0n, true)))).toBe("not_placed");
    expect((await world.parts.ledger.rows(BOT))[0]).toMatchObject({ reserved: 400_000 });
    placed = "n1";
    expect((await node.ask(settle(leaseId, epoch, 0n, true))).case).toBe("settle");
    expect((await world.parts.ledger.rows(BOT))[0]).toMatchObject({ reserved: 0 });
  });

  test("a boot of the node that has ended borrows nothing", async () => {
    const { world, node } = await meshWithNode();
    const before = node.bootId;
    world.clock.advance(1);
    node.bootId = world.newId();
    node.beat({ n: 1n });
    await world.flush();
    expect((await node.ask(lease(BOT, 1n))).case).toBe("lease");
    node.bootId = before;
    expect(reasonOf(await node.ask(lease(BOT, 1n)))).toBe("boot_ended");
  });

  test("a boot that has ended borrows nothing of a coordinator that has begun since and heard no heartbeat", async () => {
    const { world, node } = await meshWithNode();
    const before = node.bootId;
    expect((await node.ask(lease(BOT, 1n))).case).toBe("lease");
    world.clock.advance(1);
    node.bootId = world.newId();
    expect((await node.ask(lease(BOT, 1n))).case).toBe("lease");
    world.crash();
    await world.founded();
    node.bootId = before;
    expect(reasonOf(await node.ask(lease(BOT, 1n)))).toBe("boot_ended");
  });

  test("a disk that fails lends nothing and says so", async () => {
    let isBroken = false;
    const { node } = await meshWithNode({
      store: { commitFate: () => (isBroken ? "fails_not_persisted" : "good") },
    });
    isBroken = true;
    expect(reasonOf(await node.ask(lease(BOT, 1n)))).toBe("budget_unavailable");
    isBroken = false;
    expect((await node.ask(lease(BOT, 1n))).case).toBe("lease");
  });

  test("an operator's limit record raises what can be lent, until it is newer than policy", async () => {
    const { world, node } = await meshWithNode();
    const account = { unit: Unit.USD_MICROS, window: "total", limit: 4_000_000n };
    const value = create(LimitSchema, { of: { case: "account", value: account as never } });
    const bytes = world.sign(`budget/${BOT}`, { case: "limit", value });
    const command = await world.parts.commands.carry(bytes, ["limit"]);
    await world.until(() => command.committed);
    await world.flush();
    expect((await world.parts.ledger.rows(BOT))[0]).toMatchObject({ limit: 4_000_000 });
    expect((await node.ask(lease(BOT, 3_500_000n))).case).toBe("lease");
    world.crash();
    await world.founded();
    expect((await world.parts.ledger.rows(BOT))[0]).toMatchObject({ limit: 4_000_000 });
  });

  test("a signed policy that cannot be read leaves the limits before it", async () => {
    const { world, node } = await meshWithNode();
    await applyPolicy(world, "{}");
    expect(world.events("policy_unusable")).toHaveLength(1);
    expect((await node.ask(lease(BOT, 1n))).case).toBe("lease");
  });
});

describe("standing", () => {
  test("comes back as the highest that any node reports, until a revive", async () => {
    const { world, node } = await meshWithNode();
    const other = await world.addNode("n2");
    const levelOf = async (of: TestNode, level: Standing): Promise<unknown> => {
      const body = await of.ask(standing(level));
      return body.case === "standing" ? body.value.standing : reasonOf(body);
    };
    expect(await levelOf(node, Standing.QUARANTINE)).toBe(Standing.QUARANTINE);
    expect(await levelOf(other, Standing.BLOCK)).toBe(Standing.BLOCK);
    expect(await levelOf(node, Standing.WARNING)).toBe(Standing.BLOCK);
    expect(await levelOf(other, Standing.NORMAL)).toBe(Standing.WARNING);
    await levelOf(other, Standing.BLOCK);
    const kill = await world.parts.commands.kill({
      cmdId: world.newId(),
      scope: BOT,
      reason: "",
      cause: "",
      operator: "olga",
    });
    await world.until(() => kill.committed);
    expect(await levelOf(node, Standing.WARNING)).toBe(Standing.KILL);
    const value = create(ReviveSchema, {});
    const revive = await world.parts.commands.carry(world.sign(BOT, { case: "revive", value }), [
      "revive",
    ]);
    await world.until(() => revive.committed);
    expect(await levelOf(node, Standing.WARNING)).toBe(Standing.WARNING);
    expect(await levelOf(node, Standing.KILL)).toBe("malformed_request");
    expect(await levelOf(node, Standing.UNSPECIFIED)).toBe("malformed_request");
  });

  test("a node may ask for a kill of an agent, for a cause of the ladder, now and then", async () => {
    const { world, node } = await meshWithNode();
    const other = await world.addNode("n2");
    const ask = (agent: string, cause: string) => {
      const value = { agent, standing: Standing.BLOCK, cause, askKill: true };
      return node.ask({ case: "standing", value: create(StandingRequestSchema, value) });
    };
    expect(reasonOf(await ask("pay/bot", "dislike"))).toBe("malformed_request");
    expect(reasonOf(await ask("pay", "content_high"))).toBe("malformed_request");
    expect(world.parts.replica.state.killed(BOT)).toBe(false);
    expect(await ask("pay/bot", "content_high")).toMatchObject({
      case: "standing",
      value: { standing: Standing.KILL },
    });
    expect(world.parts.replica.state.get(BOT)).toMatchObject({
      operator: "node/n1",
      op: { case: "kill", value: { cause: "content_high" } },
    });
    // Killed already: no second kill, and nothing of the node's allowance is used.
    await ask("pay/bot", "content_high");
    expect(world.parts.replica.state.get(BOT)?.v).toBe(1);
    expect((await ask("pay/two", "content_high")).case).toBe("standing");
    expect(reasonOf(await ask("pay/three", "content_high"))).toBe("auto_kill_limited");
    expect(world.parts.replica.state.killed("agent/pay/three")).toBe(false);
    // The kill has to wait; where the node puts the agent is known all the same.
    expect(
      (await other.ask(standing(Standing.NORMAL, { agent: "pay/three" }))).value,
    ).toMatchObject({
      news: { others: Standing.BLOCK },
    });
    await world.pass(30_000);
    expect((await ask("pay/three", "content_high")).case).toBe("standing");
  });
});

test("who has a checkpoint cosigned is told what witnesses outside have cosigned, where that is newer", async () => {
  const asked: string[] = [];
  const { node } = await meshWithNode({
    witnessedOf: (origin) => {
      asked.push(origin);
      return { size: 2, note: "cosigned outside" };
    },
  });
  const origin = `${MESH}/n1/e1`;
  const log = signerOf(origin, KEY_TYPES.log, 1);
  const text = checkpointText({ origin, size: 3, root: Buffer.alloc(32, 1) });
  const checkpoint = encodeNote(text, [signCheckpoint(text, log)]);
  const ask = async (vkey: string, witnessedSize: bigint, oldSize = 3) => {
    const body = Buffer.from(encodeAddCheckpoint({ oldSize, proof: [], checkpoint }));
    const value = create(WitnessRequestSchema, { vkey, body, witnessedSize });
    const { case: kind, value: reply } = await node.ask({ case: "witness", value });
    return kind === "witness" ? [reply.status, reply.witnessed] : kind;
  };
  const vkey = encodeVkey(log.key);
  expect(await ask(vkey, 0n, 0)).toEqual([200, "cosigned outside"]);
  expect(asked).toEqual([origin]);
  expect(await ask(vkey, 1n)).toEqual([200, "cosigned outside"]);
  expect(await ask(vkey, 2n)).toEqual([200, ""]);
  // Another's log is not this node's to hear of.
  const other = encodeVkey(signerOf(`${MESH}/n2/e1`, KEY_TYPES.log, 2).key);
  expect(await ask(other, 0n)).toEqual([expect.any(Number), ""]);
  expect(asked.every((one) => one === origin)).toBe(true);
});

test("an agent whose scope has no number left for a coordinator is not killed for a node, and that is told", async () => {
  const { world, node } = await meshWithNode();
  const fields = { mesh: MESH, scope: BOT, cmdId: world.newId(), issuedAtMs: 1, operator: "" };
  const op = { case: "kill" as const, value: create(KillSchema, {}) };
  const stolen = { ...fields, v: COORDINATOR_VERSION_MAX, prev: new Uint8Array(32), op };
  world.outside.send("alt.heal.n1", signRecord(stolen, world.coordinator));
  await world.pass(1_000);
  const value = create(ReviveSchema, {});
  const bytes = world.sign(BOT, { case: "revive", value });
  const undone = await world.parts.commands.carry(bytes, ["revive"]);
  await world.until(() => undone.committed);
  const ask = { cause: "content_high", askKill: true };
  expect(reasonOf(await node.ask(standing(Standing.BLOCK, ask)))).toBe("signer_not_allowed");
  expect(world.events("auto_kill_refused")).toMatchObject([{ agent: "pay/bot" }]);
  expect(world.events("handler_failed")).toEqual([]);
});

describe("an agent over the mesh", () => {
  test("shows every node that holds its leases or reports it, its budget, and its kills", async () => {
    const { world, node } = await meshWithNode();
    const other = await world.addNode("n2");
    const { service } = world.parts;
    const granted = await node.ask(lease(BOT, 100n));
    if (granted.case !== "lease") throw new Error(reasonOf(granted));
    await node.ask(settle(granted.value.leaseId, granted.value.epoch, 30n));
    const second = await other.ask(lease(BOT, 50n));
    if (second.case !== "lease") throw new Error(reasonOf(second));
    await other.ask(standing(Standing.BLOCK, { cause: "content_high" }));
    const { agent } = await service.getAgent({ agent: "pay/bot" });
    expect(agent).toMatchObject({ agent: "pay/bot", standing: Standing.BLOCK, killedBy: [] });
    expect(agent.nodes).toMatchObject([
      { node: "n1", live: true, leases: 1, standing: Standing.NORMAL },
      { node: "n2", live: true, leases: 1, standing: Standing.BLOCK, cause: "content_high" },
    ]);
    // What is lent is what the budget has reserved, whichever node holds it.
    const lent = agent.nodes?.map(({ leased }) => leased?.usdMicros) as bigint[];
    expect(lent.every((amount) => amount > 0n)).toBe(true);
    const { agents } = await service.listAgents({
      ...{ filter: "pay/bot", pageToken: "", pageSize: 0 },
    } as Parameters<typeof service.listAgents>[0]);
    expect(agents).toEqual([agent]);
    expect(agent.nodes?.[0]).toMatchObject({ spent: { usdMicros: 30n } });
    expect(agent.budget?.every(({ limit = 0n }) => limit > 0n)).toBe(true);
    const command = {
      cmdId: world.newId(),
      scope: "team/pay",
      reason: "",
      cause: "",
      operator: "o",
    };
    await world.parts.commands.kill(command);
    expect((await service.getAgent({ agent: "pay/bot" })).agent).toMatchObject({
      standing: Standing.KILL,
      killedBy: ["team/pay"],
    });
  });

  test("is listed by page and filter, and one that nobody knows is not there", async () => {
    const { world, node } = await meshWithNode();
    const { service } = world.parts;
    await node.ask(standing(Standing.QUARANTINE, { agent: "pay/zed", cause: "content_medium" }));
    const listed = async (filter: string, pageToken = "", pageSize = 0) => {
      const page = await service.listAgents({ filter, pageToken, pageSize } as Parameters<
        typeof service.listAgents
      >[0]);
      return [page.agents.map(({ agent }) => agent), page.nextPageToken];
    };
    const [all] = await listed("");
    expect(all).toContain("pay/bot");
    expect(all).toContain("pay/zed");
    expect(await listed("pay/zed")).toEqual([["pay/zed"], ""]);
    const [first, token] = await listed("pay", "", 1);
    expect(first).toHaveLength(1);
    expect((await listed("pay", token as string, 1))[0]).not.toEqual(first);
    await expect(listed("pay/")).rejects.toThrow("a filter is");
    await expect(service.getAgent({ agent: "pay" })).rejects.toThrow("team/agent");
    await expect(service.getAgent({ agent: "pay/nobody" })).rejects.toThrow("no node knows it");
  });
});

describe("fetch and state", () => {
  test("a body is fetched by its hash, in pieces", async () => {
    const { world, node } = await meshWithNode();
    const text = JSON.stringify([...LIMITS, { account: "x".repeat(300_000), limits: [] }]);
    const { body, sha256 } = await applyPolicy(world, text);
    const parts: Uint8Array[] = [];
    for (let offset = 0; offset < body.length; ) {
      const value = create(FetchRequestSchema, { sha256, offset: BigInt(offset) });
      const reply = await node.ask({ case: "fetch", value });
      if (reply.case !== "fetch") throw new Error(reasonOf(reply));
      expect(Number(reply.value.size)).toBe(body.length);
      parts.push(reply.value.bytes);
      offset += reply.value.bytes.length;
    }
    expect(parts.length).toBe(2);
    expect(Buffer.concat(parts).equals(body)).toBe(true);
    const past = create(FetchRequestSchema, { sha256, offset: BigInt(body.length + 1) });
    expect(reasonOf(await node.ask({ case: "fetch", value: past }))).toBe("malformed_request");
    const other = create(FetchRequestSchema, { sha256: new Uint8Array(32) });
    expect(reasonOf(await node.ask({ case: "fetch", value: other }))).toBe("body_unknown");
  });

  test("state comes in pages that a bus carries, and is whole", async () => {
    const { world, node } = await meshWithNode({ config: { commandsMax: 5_000 } });
    const filler = [...LIMITS, { account: "x".repeat(500_000), limits: [] }];
    await applyPolicy(world, JSON.stringify(filler));
    for (let i = 0; i < 900; i += 1) {
      await world.parts.commands.kill({
        cmdId: world.newId(),
        scope: `agent/many/a${i}`,
        reason: "r".repeat(250),
        cause: "",
        operator: "o".repeat(120),
      });
    }
    const seen = new Set<string>();
    let afterScope = "";
    let pages = 0;
    for (let more = true; more; ) {
      const value = create(StateRequestSchema, { afterScope });
      const reply = await node.ask({ case: "state", value });
      if (reply.case !== "state") throw new Error(reasonOf(reply));
      pages += 1;
      for (const record of reply.value.records) {
        const opened = world.parts.replica.open(toBinary(SignedRecordSchema, record));
        if (!opened.ok) throw new Error(opened.reason);
        expect(opened.record.scope > afterScope).toBe(true);
        afterScope = opened.record.scope;
        seen.add(afterScope);
      }
      more = reply.value.more;
    }
    const { state } = world.parts.replica;
    expect(seen.size).toBe(state.size);
    expect(pages).toBe(2);
    const compare = async (other: MeshState, after = "") => {
      const value = create(SyncRequestSchema, {
        sums: other.buckets().toBytes(),
        afterScope: after,
      });
      const reply = await node.ask({ case: "sync", value });
      if (reply.case !== "sync") throw new Error(reasonOf(reply));
      const scopes = reply.value.records.map((record) => {
        const opened = world.parts.replica.open(toBinary(SignedRecordSchema, record));
        return opened.ok ? opened.record.scope : opened.reason;
      });
      return { ...reply.value, scopes };
    };
    // A state that has all but two of the records: their buckets are handed over, and no others.
    const lacking = new MeshState();
    const [one, two] = ["agent/many/a17", "agent/many/a400"] as const;
    for (const record of state.records()) {
      if (record.scope !== one && record.scope !== two) lacking.merge(record);
    }
    const found = await compare(lacking);
    expect(found).toMatchObject({ more: false, buckets: { length: 2 } });
    expect(found.scopes).toEqual(expect.arrayContaining([one, two]));
    expect(found.scopes).toEqual([...state.buckets().scopesIn(found.buckets)].sort());
    expect((await compare(lacking, one)).scopes).toEqual(
      found.scopes.filter((scope) => scope > one),
    );
    expect(await compare(state)).toMatchObject({ more: false, buckets: [], records: [] });
    // An empty one gets everything, in pages.
    const first = await compare(new MeshState());
    const last = await compare(new MeshState(), first.scopes.at(-1));
    expect(first.more).toBe(true);
    expect(new Set([...first.scopes, ...last.scopes])).toEqual(seen);
    // A revive that somebody offered, and that the stream does not hold yet, is told to nobody.
    const op = { case: "revive" as const, value: create(ReviveSchema, {}) };
    const undo = world.parts.replica.open(world.sign(one, op));
    if (!undo.ok) throw new Error(undo.reason);
    world.parts.replica.take(undo.record);
    expect((await compare(lacking)).scopes).not.toContain(one);
    const malformed = create(SyncRequestSchema, { sums: new Uint8Array(7) });
    expect(reasonOf(await node.ask({ case: "sync", value: malformed }))).toBe("malformed_request");
  });
});

describe("enrolment", () => {
  const createToken = (world: CoordinatorWorld, node: string, ttlMs = 60_000) =>
    world.parts.enrolment.createToken(node, ttlMs);
  const enrol = (node: TestNode, token: string, publicKey = node.signer.publicKey) => ({
    case: "enrol" as const,
    value: create(EnrolRequestSchema, { publicKey, token }),
  });

  test("a token lets one node in with one key, and repeats its answer", async () => {
    const { world } = await meshWithNode();
    const node = new TestNode(world, "new");
    const token = await createToken(world, "new");
    const body = await node.ask(enrol(node, token));
    if (body.case !== "enrol" || !body.value.record) throw new Error(reasonOf(body));
    const opened = world.parts.replica.open(toBinary(SignedRecordSchema, body.value.record));
    expect(opened).toMatchObject({ ok: true, record: { scope: "node/new", v: 1 } });
    expect(opened.ok && opened.record.kids).toEqual([world.enrolment.kid]);
    expect(world.parts.replica.trust.nodeKey("new")?.kid).toBe(node.signer.kid);
    const again = await node.ask(enrol(node, token));
    expect(again).toEqual(body);
    world.crash();
    await world.founded();
    expect(await node.ask(enrol(node, token))).toEqual(body);
  });

  test("nothing else lets it in", async () => {
    const { world } = await meshWithNode();
    const node = new TestNode(world, "new");
    const thief = new TestNode(world, "thief");
    const token = await createToken(world, "new");
    const reason = async (asked: Promise<{ case: string | undefined; value?: unknown }>) =>
      reasonOf(await asked);
    expect(await reason(node.ask(enrol(node, "guess")))).toBe("token_invalid");
    expect(await reason(thief.ask(enrol(thief, token)))).toBe("token_invalid");
    // The key in the request must be the one that signed it.
    await expect(node.ask(enrol(node, token), { signer: thief.signer })).rejects.toThrow("timeout");
    const misnamed = { ...node.signer, kid: thief.signer.kid };
    await expect(node.ask(enrol(node, token), { signer: misnamed })).rejects.toThrow("timeout");
    expect((await node.ask(enrol(node, token))).case).toBe("enrol");
    const other = new TestNode(world, "new");
    const stolen = enrol(other, token, thief.signer.publicKey);
    expect(await reason(other.ask(stolen, { signer: thief.signer }))).toBe("already_enrolled");
    const late = await createToken(world, "late", 1_000);
    await world.pass(1_500);
    const lateNode = new TestNode(world, "late");
    expect(await reason(lateNode.ask(enrol(lateNode, late)))).toBe("token_invalid");
  });

  test("a removed node does not come back by a token", async () => {
    const { world } = await meshWithNode();
    const node = new TestNode(world, "new");
    const token = await createToken(world, "new");
    await node.ask(enrol(node, token));
    const op = { case: "kill" as const, value: create(KillSchema, {}) };
    const removal = await world.parts.commands.carry(world.sign("node/new", op), ["kill"]);
    await world.until(() => removal.committed);
    expect(reasonOf(await node.ask(enrol(node, token)))).toBe("already_enrolled");
  });

  test("a stream that is away delays the answer and does not use the token up", async () => {
    let isLost = false;
    const { world } = await meshWithNode({
      busFaults: { appendFate: () => (isLost ? "not_stored" : "good") },
    });
    const node = new TestNode(world, "new");
    const token = await createToken(world, "new");
    isLost = true;
    expect(reasonOf(await node.ask(enrol(node, token)))).toBe("not_committed");
    expect(reasonOf(await node.ask(enrol(node, token)))).toBe("not_committed");
    expect(world.parts.replica.trust.nodeKey("new")).toBeUndefined();
    // E2: the token is this key's by now, although no record says so yet.
    const thief = new TestNode(world, "thief");
    const stolen = enrol(node, token, thief.signer.publicKey);
    expect(reasonOf(await node.ask(stolen, { signer: thief.signer }))).toBe("token_invalid");
    isLost = false;
    await world.pass(2_000);
    expect((await node.ask(enrol(node, token))).case).toBe("enrol");
  });

  test("tokens are stored as hashes, bounded, and go when their time is over", async () => {
    const { world } = await meshWithNode();
    const token = await createToken(world, "new", 1_000);
    for (const [key, value] of world.store.durable) {
      expect(key.includes(token)).toBe(false);
      expect(Buffer.from(value).toString().includes(token)).toBe(false);
    }
    await world.pass(1_500);
    await createToken(world, "other");
    expect(world.store.list("token/")).toHaveLength(1);
  });

  test("what the node was given is a record of the mesh", async () => {
    const { world } = await meshWithNode();
    const node = new TestNode(world, "new");
    const body = await node.ask(enrol(node, await createToken(world, "new")));
    if (body.case !== "enrol" || !body.value.record) throw new Error(reasonOf(body));
    const stored = await world.outside.last("ALT_CTL", "alt.ctl.node.new");
    const same = fromBinary(SignedRecordSchema, stored?.bytes ?? new Uint8Array(0));
    expect(same.payload).toEqual(body.value.record.payload);
  });
});

test("Q2: an answer that cannot be sent is told of, and ends nothing", async () => {
  const { world, node } = await meshWithNode();
  const heard: ((message: BusMessage) => void)[] = [];
  const told: unknown[] = [];
  const requests = new NodeRequests({
    bus: {
      listen: (_pattern: string, fn: (message: BusMessage) => void) => {
        heard.push(fn);
        return () => undefined;
      },
    } as unknown as Bus,
    replica: world.parts.replica,
    clock: world.clock,
    signer: world.coordinator,
    verify: world.keys.verify,
    tell: (event, fields) => told.push([event, fields]),
    handlers: { nonce: () => refusedBody("unavailable", "why") } as unknown as RequestHandlers,
    replicaId: "c1",
    isLed: () => true,
    inFlightMax: 1,
    count: () => undefined,
  });
  requests.start();
  const { id, bootId, signer } = node;
  const body = { case: "nonce", value: create(NonceRequestSchema) } as const;
  const asked = create(NodeRequestSchema, { node: id, bootId, requestId: "r", body });
  const bytes = seal("request", toBinary(NodeRequestSchema, asked), signer);
  const subject = requestSubject(id, "nonce");
  const respond = vi.fn(() => {
    throw new BusFault("too_large", "an answer");
  });
  // The second one shows that the first is not counted as in flight any more.
  for (let i = 1; i <= 2; i++) {
    for (const take of heard) take({ subject, bytes, respond });
    await comesTrue(() => expect(told).toHaveLength(i));
  }
  expect(told[0]).toEqual([
    "reply_unsent",
    { subject, error: expect.stringContaining("an answer") },
  ]);
  expect(respond).toHaveBeenCalledTimes(2);
});
