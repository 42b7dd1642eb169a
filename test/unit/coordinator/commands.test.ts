import { createHash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test, vi } from "vitest";
import { PERIODS_WAITED_MAX } from "../../../coordinator/broadcast.ts";
import { CommandRefused } from "../../../coordinator/command-refused.ts";
import { contractEndOf } from "../../../mesh/contract-end.ts";
import {
  COORDINATOR_VERSION_MAX,
  type MeshRecord,
  restoreRecord,
  signRecord,
} from "../../../mesh/record.ts";
import type { RecordOp } from "../../../mesh/record-op.ts";
import type { AppendFate } from "../../../ports/twin-bus.ts";
import {
  KeySchema,
  KillSchema,
  PolicySchema,
  ReviveSchema,
  SignedRecordSchema,
  TrustRole,
  TrustSchema,
} from "../../../proto/gen/altrace/v1/record_pb.ts";
import { CONTROL_STREAM, DIGEST_SUBJECT, FAST_PREFIX } from "../../../proto/subjects.ts";
import { CoordinatorWorld, LIMITS, MESH, type TestNode } from "./coordinator-world.ts";

const KILL_BOT = "alt.ctl.kill.agent.pay.bot";
const SCOPE = "agent/pay/bot";

const revive: RecordOp = { case: "revive", value: create(ReviveSchema, { reason: "done" }) };
const killed: RecordOp = { case: "kill", value: create(KillSchema, {}) };

function policy(text: string): RecordOp {
  const body = Buffer.from(text);
  const sha256 = createHash("sha256").update(body).digest();
  const value = create(PolicySchema, { sha256, size: BigInt(body.length), body });
  return { case: "policy", value };
}

async function refusal(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(CommandRefused);
  return (error as CommandRefused).reason;
}

function kill(world: CoordinatorWorld, cmdId = world.newId(), scope = SCOPE) {
  const fields = { cmdId, scope, reason: "drill", cause: "", operator: "olga" };
  return world.parts.commands.kill(fields);
}

describe("founding", () => {
  test("the first start signs the trust bundle, and later ones leave it alone", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    expect(world.parts.replica.trust.lookup(world.coordinator.kid)?.role).toBe("coordinator");
    expect(world.parts.replica.trust.lookup(world.enrolment.kid)?.role).toBe("enrolment");
    world.crash();
    await world.founded();
    await world.pass(1_000);
    expect(world.parts.replica.state.get("trust")?.v).toBe(1);
    expect(world.events("mesh_founded")).toHaveLength(1);
  });

  test("a coordinator that finds a bundle in the stream signs none", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    world.store = new CoordinatorWorld().store;
    world.crash();
    await world.founded();
    await world.pass(1_000);
    expect(world.parts.replica.state.get("trust")?.v).toBe(1);
    expect(world.events("mesh_founded")).toHaveLength(1);
  });
});

describe("kill", () => {
  test("is signed by the coordinator, heard on the fast path before its commit, and committed", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    world.heard.length = 0;
    const command = await kill(world);
    expect(command).toMatchObject({ accepted: true, scope: SCOPE, v: 1, op: "kill" });
    await world.until(() => command.committed);
    const subjects = world.heard.map(({ subject }) => subject).filter((s) => s.includes("kill"));
    expect(subjects[0]).toBe("alt.fast.kill.agent.pay.bot");
    expect(subjects).toContain("alt.bc.kill.agent.pay.bot");
    const record = await world.inStream(KILL_BOT);
    expect(record).toMatchObject({ cmdId: command.cmdId, operator: "olga" });
    expect(record?.kids).toEqual([world.coordinator.kid]);
    expect(world.parts.replica.state.killed(SCOPE)).toBe(true);
  });

  test("C3: is said before anything is noted of it here, and once", async () => {
    const known: (MeshRecord | undefined)[] = [];
    const world: CoordinatorWorld = new CoordinatorWorld({
      busFaults: {
        fate: (way, subject) => {
          const isSaid = way === "out" && subject.startsWith(FAST_PREFIX);
          if (isSaid) known.push(world.parts.replica.state.get(SCOPE));
          return [0];
        },
      },
    });
    await world.founded();
    const command = await kill(world);
    await world.until(() => command.committed);
    expect(known).toEqual([undefined]);
  });

  test("C2: the same cmd_id is the same command; for another scope it is refused", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const cmdId = world.newId();
    const [first, second] = await Promise.all([kill(world, cmdId), kill(world, cmdId)]);
    expect(second).toBe(first);
    await world.until(() => first.committed);
    expect((await kill(world, cmdId)).v).toBe(1);
    expect(await refusal(kill(world, cmdId, "team/pay"))).toBe("cmd_id_reused");
  });

  test("only global, teams and agents can be killed", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    for (const scope of ["policy", "key/abcdefgh", "agent/pay", "node/n1", "Team/pay", ""]) {
      expect(await refusal(kill(world, world.newId(), scope))).toBe("malformed_scope");
    }
    expect(await refusal(kill(world, "not-a-uuid"))).toBe("field_malformed");
    expect((await kill(world, world.newId(), "global")).accepted).toBe(true);
  });

  test("C1: a disk that fails does not keep a kill from being heard and committed", async () => {
    let isBroken = false;
    const world = new CoordinatorWorld({
      store: { commitFate: () => (isBroken ? "fails_not_persisted" : "good") },
    });
    await world.founded();
    isBroken = true;
    const command = await kill(world);
    expect(command.accepted).toBe(false);
    expect(world.events("kill_not_durable")).toHaveLength(1);
    await world.until(() => command.committed);
    expect(world.parts.replica.unsavedCount).toBe(1);
    isBroken = false;
    await world.until(() => world.parts.replica.unsavedCount === 0);
    expect(world.store.durable.has(`record/${SCOPE}`)).toBe(true);
  });

  test("is heard again every 75 ms until live nodes have acknowledged it", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.acknowledges = false;
    const fast = () => world.heard.filter(({ subject }) => subject.startsWith("alt.fast.")).length;
    const command = await kill(world);
    await world.until(() => command.committed);
    expect(fast()).toBe(1);
    for (let i = 2; i <= 5; i += 1) {
      world.clock.advance(75);
      await world.flush();
      expect(fast()).toBe(i);
    }
    const record = world.parts.replica.state.get(SCOPE);
    if (!record) throw new Error("no record");
    node.ack(record);
    await world.flush();
    await world.pass(1_000);
    expect(fast()).toBe(5);
  });

  test("is not heard again while answers still come in, but for a second at most", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const nodes: TestNode[] = [];
    for (let i = 1; i <= PERIODS_WAITED_MAX + 2; i += 1) nodes.push(await world.addNode(`n${i}`));
    for (const node of nodes) node.acknowledges = false;
    const fast = () => world.heard.filter(({ subject }) => subject.startsWith("alt.fast.")).length;
    await kill(world);
    const record = world.parts.replica.state.get(SCOPE);
    if (!record) throw new Error("no record");
    for (const node of nodes.slice(0, PERIODS_WAITED_MAX)) {
      node.ack(record);
      await world.flush();
      world.clock.advance(75);
      await world.flush();
      expect(fast()).toBe(1);
    }
    nodes[PERIODS_WAITED_MAX]?.ack(record);
    await world.flush();
    world.clock.advance(75);
    await world.flush();
    expect(fast()).toBe(2);
    // Nobody has answered since: the one that is missing may not have heard.
    world.clock.advance(75);
    await world.flush();
    expect(fast()).toBe(3);
  });

  test("what nodes add to their answers does not keep it from those that have not answered", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const [near, far] = [await world.addNode("n1"), await world.addNode("n2")];
    for (const node of [near, far]) node.acknowledges = false;
    const fast = () => world.heard.filter(({ subject }) => subject.startsWith("alt.fast.")).length;
    await kill(world);
    const record = world.parts.replica.state.get(SCOPE);
    if (!record) throw new Error("no record");
    const period = async (said: { closed: boolean; durable: boolean }) => {
      near.ack(record, said);
      await world.flush();
      world.clock.advance(75);
      await world.flush();
    };
    await period({ closed: false, durable: false });
    expect(fast()).toBe(1);
    await period({ closed: true, durable: false });
    expect(fast()).toBe(2);
    await period({ closed: true, durable: true });
    expect(fast()).toBe(3);
  });

  test("is heard again as soon as this coordinator has a connection again", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.acknowledges = false;
    const fast = () => world.heard.filter(({ subject }) => subject.startsWith("alt.fast.")).length;
    world.bus.cut("out");
    world.bus.cut("in");
    await kill(world);
    await world.flush();
    expect(fast()).toBe(0);
    world.bus.heal();
    await world.flush();
    expect(fast()).toBe(1);
  });

  test("is heard ahead of each digest once this coordinator has come back, and nodes with it", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.acknowledges = false;
    await kill(world);
    await world.flush();
    const saidWithDigest = async (): Promise<readonly string[]> => {
      const from = world.heard.length;
      world.parts.digest.start();
      await world.flush();
      const subjects = world.heard.slice(from).map(({ subject }) => subject);
      return subjects.filter((one) => one === DIGEST_SUBJECT || one.startsWith(FAST_PREFIX));
    };
    expect(await saidWithDigest()).toEqual([DIGEST_SUBJECT]);
    world.bus.cut("out");
    world.bus.cut("in");
    world.bus.heal();
    await world.flush();
    expect(await saidWithDigest()).toEqual(["alt.fast.kill.agent.pay.bot", DIGEST_SUBJECT]);
  });

  test("that its stream does not take is told with its age, and no more once it is stored", async () => {
    let isStuck = false;
    const appendFate = () => (isStuck ? "not_stored" : "good") as AppendFate;
    const world = new CoordinatorWorld({ busFaults: { appendFate } });
    await world.founded();
    const ofControl = () => world.parts.streams().find(({ stream }) => stream === CONTROL_STREAM);
    const nothing = { uncommitted: 0, uncommittedMs: 0, unansweredMs: 0, error: "" };
    await world.pass(1_000);
    expect(ofControl()).toMatchObject(nothing);
    isStuck = true;
    const command = await kill(world);
    await kill(world, world.newId(), `contract/${"0".repeat(43)}`);
    await world.pass(13_000);
    expect(ofControl()).toMatchObject({ uncommitted: 1, uncommittedMs: 13_000 });
    expect(ofControl()?.unansweredMs).toBeGreaterThan(10_000);
    expect(world.events("stream_takes_nothing")).toContainEqual(
      expect.objectContaining({ stream: CONTROL_STREAM }),
    );
    // What an earlier run accepted counts from then.
    world.crash();
    await world.start();
    expect(ofControl()).toMatchObject({ uncommitted: 1, uncommittedMs: 13_000 });
    isStuck = false;
    await world.until(() => world.parts.commands.get(command.cmdId)?.committed === true);
    await world.pass(5_000);
    expect(ofControl()).toMatchObject(nothing);
  });

  test("is repeated for 30 seconds at most", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.bus.cut("in");
    const fast = () => world.heard.filter(({ subject }) => subject.startsWith("alt.fast.")).length;
    await kill(world);
    for (let s = 0; s < 35; s += 1) {
      node.beat();
      await world.pass(1_000);
    }
    expect(fast()).toBe(400);
  });

  test("is said again to a node that has it by another way and never said that it closed", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.bus.cut("in");
    const fast = () => world.heard.filter(({ subject }) => subject.startsWith("alt.fast.")).length;
    const command = await kill(world);
    await world.pass(40_000);
    const said = fast();
    node.bus.heal();
    node.repair();
    node.beat();
    await world.flush();
    expect(fast()).toBe(said + 1);
    expect(world.parts.registry.isDone(command)).toBe(true);
    node.beat();
    await world.flush();
    expect(fast()).toBe(said + 1);
  });

  test("is done by a heartbeat that says all is closed, where the ack that said so was lost", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    node.bus.cut("in");
    const command = await kill(world);
    node.repair();
    node.beat();
    await world.flush();
    const ack = () => world.parts.acks.get(command.cmdId, "n1");
    expect(ack()).toMatchObject({ durable: true, closed: false });
    node.beat({ closed: true });
    await world.flush();
    expect(ack()).toMatchObject({ durable: true, closed: true });
    expect(world.parts.registry.isDone(command)).toBe(true);
  });

  test("a coordinator whose key is not in the bundle kills nothing", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    world.keys.remove("coordinator");
    world.crash();
    await world.start();
    await world.flush();
    expect(await refusal(kill(world))).toBe("key_unknown");
    expect(world.parts.replica.state.killed(SCOPE)).toBe(false);
  });
});

describe("records that an operator signed", () => {
  test("C3: a revive counts only once it is committed", async () => {
    const appends: string[] = [];
    let isLost = false;
    const world = new CoordinatorWorld({
      busFaults: {
        appendFate: (subject) => {
          appends.push(subject);
          return isLost ? "not_stored" : "good";
        },
      },
    });
    await world.founded();
    const first = await kill(world);
    await world.until(() => first.committed);
    isLost = true;
    const command = await world.parts.commands.carry(world.sign(SCOPE, revive), ["revive"]);
    expect(command.accepted).toBe(true);
    await world.pass(3_000);
    expect(command.committed).toBe(false);
    expect(world.parts.replica.state.killed(SCOPE)).toBe(true);
    expect(world.heard.some(({ subject }) => subject.startsWith("alt.fast.") === false)).toBe(true);
    isLost = false;
    await world.until(() => command.committed);
    expect(world.parts.replica.state.killed(SCOPE)).toBe(false);
    expect(new Set(appends.filter((subject) => subject === KILL_BOT)).size).toBe(1);
  });

  test("is refused when anybody but an operator signed it", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const first = await kill(world);
    await world.until(() => first.committed);
    const forged = world.sign(SCOPE, revive, world.coordinator);
    expect(await refusal(world.parts.commands.carry(forged, ["revive"]))).toBe(
      "signer_not_allowed",
    );
    const foreign = world.sign(SCOPE, revive, world.keys.loadOrCreate("stranger"));
    expect(await refusal(world.parts.commands.carry(foreign, ["revive"]))).toBe("key_unknown");
    expect(world.parts.replica.state.killed(SCOPE)).toBe(true);
  });

  test("is refused for an op that the call does not carry", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const bytes = world.sign("team/pay", killed);
    expect(await refusal(world.parts.commands.carry(bytes, ["revive"]))).toBe("op_not_allowed");
  });

  test("built on anything but the current record it is a conflict", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const [first, second] = [
      world.sign("policy", policy("[1]")),
      world.sign("policy", policy("[2]")),
    ];
    const command = await world.parts.commands.carry(first, ["policy"]);
    expect(await refusal(world.parts.commands.carry(second, ["policy"]))).toBe("conflict");
    await world.until(() => command.committed);
    expect(await refusal(world.parts.commands.carry(second, ["policy"]))).toBe("conflict");
    expect((await world.parts.commands.carry(first, ["policy"])).committed).toBe(true);
  });

  test("the same cmd_id with another record is refused", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const value = { sha256: new Uint8Array(32), agent: "pay/bot" };
    const key = (id: string): RecordOp => ({
      case: "key",
      value: create(KeySchema, { ...value, sha256: createHash("sha256").update(id).digest() }),
    });
    const cmdId = world.newId();
    world.newId = () => cmdId;
    await world.parts.commands.carry(world.sign("key/abcdefgh", key("a")), ["key"]);
    const other = world.sign("key/ijklmnop", key("b"));
    expect(await refusal(world.parts.commands.carry(other, ["key"]))).toBe("cmd_id_reused");
  });

  test("is not accepted while the disk does not take it, and nothing of it happens", async () => {
    let isBroken = false;
    const world = new CoordinatorWorld({
      store: { commitFate: () => (isBroken ? "fails_not_persisted" : "good") },
    });
    await world.founded();
    isBroken = true;
    const bytes = world.sign("policy", policy(JSON.stringify(LIMITS)));
    await expect(world.parts.commands.carry(bytes, ["policy"])).rejects.toThrow("commit");
    await world.pass(2_000);
    expect(await world.inStream("alt.ctl.policy")).toBeUndefined();
    isBroken = false;
    const command = await world.parts.commands.carry(bytes, ["policy"]);
    await world.until(() => command.committed);
  });
});

describe("C4: two writers of one scope", () => {
  test("a kill that another record overtook is signed again on top of it", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const first = await kill(world);
    await world.until(() => first.committed);
    // Another coordinator carries the operator's revive while this one hears nothing of it.
    world.bus.cut("in");
    const bytes = world.sign(SCOPE, revive);
    const stored = await world.outside.append(KILL_BOT, bytes, { msgId: "other", expectSeq: 2 });
    expect(stored).toEqual({ seq: 3 });
    const again = await kill(world);
    expect(again.v).toBe(2);
    await world.flush();
    world.bus.heal();
    await world.until(() => again.committed);
    expect(again.v).toBe(3);
    expect(await world.inStream(KILL_BOT)).toMatchObject({ v: 3, cmdId: again.cmdId });
    expect(world.parts.replica.state.killed(SCOPE)).toBe(true);
  });

  test("an operator's record that another one overtook is a conflict", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    world.bus.cut("in");
    const theirs = world.sign("policy", policy("[1]"));
    const ours = world.sign("policy", policy("[2]"));
    await world.outside.append("alt.ctl.policy", theirs, { msgId: "other", expectSeq: 0 });
    const command = await world.parts.commands.carry(ours, ["policy"]);
    world.bus.heal();
    await world.until(() => command.conflict);
    expect(command.committed).toBe(false);
    const policyOf = world.parts.replica.state.get("policy")?.op;
    expect(policyOf?.case === "policy" && Buffer.from(policyOf.value.body).toString()).toBe("[1]");
  });

  test("what is no record does not keep a kill out of the stream", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const garbage = Buffer.from("garbage");
    await world.outside.append(KILL_BOT, garbage, { msgId: "garbage", expectSeq: 0 });
    await world.flush();
    const command = await kill(world);
    await world.until(() => command.committed);
    expect(await world.inStream(KILL_BOT)).toMatchObject({ cmdId: command.cmdId });
    expect(world.events("stream_overwritten")).toHaveLength(1);
  });
});

test("a kill that comes while a revive is on its way wins, and the revive is a conflict", async () => {
  let isLost = false;
  const world = new CoordinatorWorld({
    busFaults: { appendFate: () => (isLost ? "not_stored" : "good") },
  });
  await world.founded();
  const first = await kill(world);
  await world.until(() => first.committed);
  isLost = true;
  const undone = await world.parts.commands.carry(world.sign(SCOPE, revive), ["revive"]);
  await world.pass(500);
  const second = await kill(world);
  isLost = false;
  await world.until(() => second.committed);
  expect(undone).toMatchObject({ committed: false, conflict: true });
  expect(await world.inStream(KILL_BOT)).toMatchObject({ v: 2, cmdId: second.cmdId });
});

test("a scope whose numbers a thief of our key used up is killed by an operator's record", async () => {
  const world = new CoordinatorWorld();
  await world.founded();
  const putKey = (bytes: Uint8Array) =>
    world.parts.service.putKey({ record: fromBinary(SignedRecordSchema, bytes) });
  // As long as we can number its records, it is killed by `Kill`, which waits for nobody's key.
  await expect(putKey(world.sign(SCOPE, killed))).rejects.toMatchObject({
    reason: "op_not_allowed",
  });
  const fields = { mesh: MESH, scope: SCOPE, cmdId: world.newId(), issuedAtMs: 1, operator: "" };
  const stolen = { ...fields, v: COORDINATOR_VERSION_MAX, prev: new Uint8Array(32), op: killed };
  world.outside.send("alt.heal.n1", signRecord(stolen, world.coordinator));
  await world.pass(1_000);
  expect(world.parts.replica.state.killed(SCOPE)).toBe(true);
  const undone = await world.parts.commands.carry(world.sign(SCOPE, revive), ["revive"]);
  await world.until(() => undone.committed);
  await putKey(world.sign(SCOPE, killed));
  expect(world.parts.replica.state.killed(SCOPE)).toBe(true);
  expect(await world.inStream(KILL_BOT)).toMatchObject({ v: COORDINATOR_VERSION_MAX + 2 });
});

describe("what this coordinator has not heard", () => {
  test("a command that is committed counts here without its broadcast", async () => {
    const world = new CoordinatorWorld({
      busFaults: {
        fate: (way, subject) => (way === "in" && subject.startsWith("alt.bc.") ? [] : [0]),
      },
    });
    await world.founded();
    const first = await kill(world);
    await world.until(() => first.committed);
    const command = await world.parts.commands.carry(world.sign(SCOPE, revive), ["revive"]);
    await world.until(() => command.committed);
    expect(world.parts.replica.state.killed(SCOPE)).toBe(false);
  });

  test("a committed record is on disk with the word that it is committed", async () => {
    const world = new CoordinatorWorld({
      store: {
        commitFate: (writes) =>
          writes.every(({ key }) => key === "record/policy") ? "fails_not_persisted" : "good",
      },
    });
    await world.founded();
    const bytes = world.sign("policy", policy(JSON.stringify(LIMITS)));
    const command = await world.parts.commands.carry(bytes, ["policy"]);
    await world.until(() => command.committed);
    await world.flush();
    expect(world.store.durable.has("record/policy")).toBe(true);
  });

  test("a sequence that the stream never gave out does not keep a kill from it", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    world.parts.replica.stream.noteSeq(SCOPE, 99);
    const command = await kill(world);
    await world.until(() => command.committed);
    expect(await world.inStream(KILL_BOT)).toMatchObject({ cmdId: command.cmdId });
  });

  test("a kill that was committed and undone while this one was down is not done again", async () => {
    let isUnanswered = false;
    const world = new CoordinatorWorld({
      busFaults: { appendFate: () => (isUnanswered ? "stored_unanswered" : "good") },
    });
    await world.founded();
    isUnanswered = true;
    const { cmdId } = await kill(world);
    await world.flush();
    const bytes = world.sign(SCOPE, revive);
    world.crash();
    const stored = await world.outside.last("ALT_CTL", KILL_BOT);
    const expectSeq = stored?.seq ?? 0;
    await world.outside.append(KILL_BOT, bytes, { msgId: "other", expectSeq });
    // Long enough for the stream to have forgotten that it knows the kill's id.
    world.clock.advance(11 * 60_000);
    isUnanswered = false;
    await world.start();
    await world.until(() => world.parts.commands.get(cmdId)?.committed === true);
    await world.pass(1_000);
    expect(await world.inStream(KILL_BOT)).toMatchObject({ v: 2, op: { case: "revive" } });
    expect(world.parts.replica.state.killed(SCOPE)).toBe(false);
  });

  test("a record that the stream holds already is not written a second time", async () => {
    let isUnanswered = false;
    const world = new CoordinatorWorld({
      busFaults: { appendFate: () => (isUnanswered ? "stored_unanswered" : "good") },
    });
    await world.founded();
    isUnanswered = true;
    const { cmdId } = await kill(world);
    await world.flush();
    world.crash();
    world.clock.advance(11 * 60_000);
    isUnanswered = false;
    await world.start();
    await world.until(() => world.parts.commands.get(cmdId)?.committed === true);
    expect((await world.outside.last("ALT_CTL", KILL_BOT))?.seq).toBe(2);
  });
});

test("a kill whose key was taken away while this coordinator was down is signed with its new one", async () => {
  let isLost = false;
  const world = new CoordinatorWorld({
    busFaults: { appendFate: () => (isLost ? "not_stored" : "good") },
  });
  await world.founded();
  isLost = true;
  const { cmdId } = await kill(world);
  const { coordinator } = world;
  world.keys.remove("coordinator");
  const keys = [world.operator, world.coordinator].map(({ kid, publicKey }, i) => ({
    kid,
    publicKey,
    role: i === 0 ? TrustRole.OPERATOR : TrustRole.COORDINATOR,
  }));
  const bundle = world.sign("trust", { case: "trust", value: create(TrustSchema, { keys }) });
  expect(world.coordinator.kid).not.toBe(coordinator.kid);
  world.crash();
  await world.outside.append("alt.ctl.trust", bundle, { msgId: "rotation", expectSeq: 1 });
  // The new bundle is on this coordinator's disk before the command goes on.
  await world.store.commit([{ key: "record/trust", value: bundle }]);
  isLost = false;
  await world.start();
  await world.until(() => world.parts.commands.get(cmdId)?.committed === true);
  expect(await world.inStream(KILL_BOT)).toMatchObject({
    v: 2,
    cmdId,
    operator: "olga",
    kids: [world.coordinator.kid],
  });
});

describe("memory", () => {
  test("forgets the oldest finished commands beyond its bound, and their acks", async () => {
    const world = new CoordinatorWorld({ config: { commandsMax: 5 } });
    await world.founded();
    await world.addNode("n1");
    const ids: string[] = [];
    for (let i = 0; i < 8; i += 1) {
      const command = await kill(world);
      ids.push(command.cmdId);
      await world.until(() => command.committed);
      await world.pass(250);
    }
    expect([...world.parts.commands.all()].length).toBeLessThanOrEqual(6);
    expect(world.parts.commands.get(ids[0] as string)).toBeUndefined();
    expect(world.parts.commands.get(ids[7] as string)).toBeDefined();
    expect(world.store.list(`ack/${ids[0]}/`)).toEqual([]);
    expect(world.store.list(`ack/${ids[7]}/`)).toHaveLength(1);
  });
});

describe("revocation", () => {
  const contract = "c".repeat(43);
  const scope = `contract/${contract}`;
  const call = { signal: new AbortController().signal, caller: undefined };
  const asked = { contract, reason: "lost", operator: "olga" } as const;

  test("of what is revoked already is the first one's command, also where nobody remembers that", async () => {
    const world = new CoordinatorWorld({ config: { commandsMax: 1 } });
    await world.founded();
    const node = await world.addNode("n1");
    const revoke = () => world.parts.service.revokeContract(asked as never, call);
    const first = await revoke();
    expect(first).toMatchObject({ wasRevoked: false, command: { scope, v: 1n } });
    const cmdId = first.command.cmdId as string;
    await world.until(() => world.parts.commands.get(cmdId)?.committed === true);
    expect(await revoke()).toMatchObject({ wasRevoked: true, command: { cmdId } });
    await kill(world);
    await kill(world, world.newId(), "team/pay");
    await world.until(() => world.parts.commands.get(cmdId) === undefined);
    const again = await revoke();
    expect(again).toMatchObject({ wasRevoked: true, command: { cmdId, scope, v: 1n } });
    const command = world.parts.commands.get(cmdId);
    await world.until(() => command?.committed === true);
    node.beat();
    await world.flush();
    if (command) expect(world.parts.registry.isDone(command)).toBe(true);
    expect(world.parts.replica.state.get(scope)?.v).toBe(1);
  });
});

describe("the end of a revoked contract", () => {
  const contract = "c".repeat(43);
  const scope = `contract/${contract}`;
  const call = { signal: new AbortController().signal, caller: undefined };
  const asked = { contract, reason: "lost", operator: "olga" } as const;

  async function revoking(endMs: (nowMs: number) => number) {
    const world = new CoordinatorWorld();
    await world.founded();
    const known = endMs(world.clock.nowMs());
    vi.spyOn(world.parts.ledger, "contractEndMs").mockReturnValue(known);
    const revoke = () => world.parts.service.revokeContract(asked as never, call);
    const current = () => world.parts.replica.state.get(scope);
    return { world, revoke, current, known };
  }

  test("is the ledger's, and what was revoked for less is revoked once more", async () => {
    const { world, revoke, current, known } = await revoking((nowMs) => nowMs + 60_000);
    const fields = { cmdId: world.newId(), scope, reason: "", cause: "", operator: "thief" };
    const short = { ...fields, contractEndMs: known - 1 };
    const before = await world.parts.commands.kill(short);
    await world.until(() => before.committed);
    expect(await revoke()).toMatchObject({ wasRevoked: true, command: { v: 2n } });
    expect(current() && contractEndOf(current() as MeshRecord)).toBe(known);
    const cmdId = current()?.cmdId as string;
    await world.until(() => world.parts.commands.get(cmdId)?.committed === true);
    const last = await world.outside.last("ALT_REV", `alt.rev.kill.contract.${contract}`);
    expect(last?.bytes).toEqual(current()?.bytes);
    expect(await revoke()).toMatchObject({ wasRevoked: true, command: { cmdId } });
  });

  test("that the mesh has passed is no use to revoke", async () => {
    const { world, revoke } = await revoking((nowMs) => nowMs - 28 * 3_600_000);
    const other = `contract/${"d".repeat(43)}`;
    const fields = { cmdId: world.newId(), scope: other, reason: "", cause: "", operator: "o" };
    await world.parts.commands.kill({ ...fields, contractEndMs: world.clock.nowMs() + 86_400_000 });
    await expect(revoke()).rejects.toMatchObject({ fields: { reason: "contract_expired" } });
  });

  test("of two that revoke it at once the later stands, and both are told that it is stored", async () => {
    const { world, current, known } = await revoking((nowMs) => nowMs + 60_000);
    const op = create(KillSchema, { contractEndMs: BigInt(known + 1_000) });
    const theirs = world.sign(scope, { case: "kill", value: op }, world.coordinator);
    const subject = `alt.rev.kill.contract.${contract}`;
    world.bus.cut("in");
    await world.outside.append(subject, theirs, { msgId: "theirs", expectSeq: 0 });
    const fields = { cmdId: world.newId(), scope, reason: "", cause: "", operator: "olga" };
    world.bus.heal();
    const command = await world.parts.commands.kill({ ...fields, contractEndMs: known });
    await world.until(() => command.committed);
    expect(current()?.cmdId).toBe(command.cmdId);
    expect(contractEndOf(current() as MeshRecord)).toBe(known + 1_000);
    const last = await world.outside.last("ALT_REV", subject);
    expect(last?.bytes).toEqual(current()?.bytes);
  });

  test("gone by, its revocation leaves memory and disk, and stays out at the next start", async () => {
    const { world } = await revoking((nowMs) => nowMs);
    const revoke = async (id: string, contractEndMs: number) => {
      const of = { cmdId: world.newId(), scope: `contract/${id.repeat(43)}`, contractEndMs };
      const fields = { ...of, reason: "", cause: "", operator: "o" };
      const command = await world.parts.commands.kill(fields);
      await world.until(() => command.committed);
      return command.scope;
    };
    const nowMs = world.clock.nowMs();
    const early = await revoke("a", nowMs - 27 * 3_600_000);
    expect(world.store.get(`record/${early}`)).toBeDefined();
    await revoke("b", nowMs + 86_400_000);
    await world.pass(1_000);
    expect(world.parts.replica.state.killed(early)).toBe(false);
    expect(world.store.get(`record/${early}`)).toBeUndefined();
    const hash = world.parts.replica.state.hashHex();
    world.crash();
    await world.start();
    await world.until(() => world.parts.replica.isReplayed);
    expect(world.parts.replica.state.hashHex()).toBe(hash);
  });
});

describe("what nodes are told", () => {
  const about = (world: CoordinatorWorld, prefix: string) =>
    world.heard.filter(({ subject }) => subject === `${prefix}kill.agent.pay.bot`);

  test("of a revive is a coordinator's word, once it is stored and not before", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const node = await world.addNode("n1");
    const first = await kill(world);
    await world.until(() => first.committed);
    world.heard.length = 0;
    const undone = await world.parts.commands.carry(world.sign(SCOPE, revive), ["revive"]);
    await world.until(() => undone.committed);
    await world.flush();
    const subjects = world.heard.map(({ subject }) => subject);
    const [stored, told] = ["alt.bc.", "alt.revive."].map((prefix) =>
      subjects.indexOf(`${prefix}kill.agent.pay.bot`),
    );
    expect(stored).toBeGreaterThanOrEqual(0);
    expect(told).toBeGreaterThan(stored as number);
    expect(about(world, "alt.fast.")).toEqual([]);
    expect(node.state.killed(SCOPE)).toBe(false);
  });

  test("of a revive that a kill has undone is nothing, though it was stored, and the kill's place stays its own", async () => {
    let isUnanswered = false;
    const world = new CoordinatorWorld({
      busFaults: { appendFate: () => (isUnanswered ? "stored_unanswered" : "good") },
    });
    await world.founded();
    const first = await kill(world);
    await world.until(() => first.committed);
    isUnanswered = true;
    const undone = await world.parts.commands.carry(world.sign(SCOPE, revive), ["revive"]);
    await world.flush();
    isUnanswered = false;
    const expectSeq = (await world.outside.last("ALT_CTL", KILL_BOT))?.seq ?? 0;
    const bytes = world.sign(SCOPE, killed, world.coordinator);
    const stored = await world.outside.append(KILL_BOT, bytes, { msgId: "other", expectSeq });
    if (stored === "conflict") throw new Error("the revive is not stored");
    await world.until(() => undone.committed);
    await world.flush();
    expect(about(world, "alt.revive.")).toEqual([]);
    const { stream } = world.parts.replica;
    expect(stream.recordOf(SCOPE)?.v).toBe(3);
    expect(stream.seqOf(SCOPE)).toBe(stored.seq);
  });

  test("of a kill that this coordinator hears first from the stream is the kill, once", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const bytes = world.sign(SCOPE, killed, world.coordinator);
    for (const msgId of ["one", "two"]) {
      const stored = await world.outside.append(KILL_BOT, bytes, { msgId, expectSeq: 0 });
      if (msgId === "one") expect(stored).not.toBe("conflict");
      await world.flush();
    }
    expect(world.parts.replica.state.killed(SCOPE)).toBe(true);
    expect(about(world, "alt.fast.").map((each) => each.bytes)).toEqual([bytes]);
  });
});

describe("records whose key counts no more", () => {
  const bundle = (world: CoordinatorWorld, notAfterMs: number): RecordOp => {
    const other = world.keys.loadOrCreate("another-coordinator");
    const keys = [
      { ...named(world.coordinator), role: TrustRole.COORDINATOR },
      { ...named(world.enrolment), role: TrustRole.ENROLMENT },
      { ...named(other), role: TrustRole.COORDINATOR, notAfterMs: BigInt(notAfterMs) },
    ];
    return { case: "trust", value: create(TrustSchema, { keys }) };
  };
  const named = ({ kid, publicKey }: { kid: string; publicKey: Uint8Array }) => ({
    kid,
    publicKey,
  });
  const staleIn = async (world: CoordinatorWorld) => {
    const { records } = await world.parts.service.listStaleRecords();
    return records.map((signed) => {
      const read = restoreRecord(toBinary(SignedRecordSchema, signed), { mesh: MESH });
      return read.ok ? read.record.scope : read.reason;
    });
  };

  test("are listed once it has expired, and an operator signs the kill again, which nobody else's may", async () => {
    const world = new CoordinatorWorld();
    await world.founded();
    const { commands, service } = world.parts;
    const endsMs = world.clock.nowMs() + 60_000;
    const trusted = await commands.carry(world.sign("trust", bundle(world, endsMs)), ["trust"]);
    await world.until(() => trusted.committed);
    const other = world.keys.loadOrCreate("another-coordinator");
    const old = await commands.carry(world.sign(SCOPE, killed, other), ["kill"]);
    await world.until(() => old.committed);
    const put = () => service.putKey({ record: signedBy(world.sign(SCOPE, killed)) });
    expect(await staleIn(world)).toEqual([]);
    expect(await refusal(put())).toBe("op_not_allowed");
    await world.pass(60_001);
    expect(await staleIn(world)).toEqual([SCOPE]);
    await put();
    expect(await staleIn(world)).toEqual([]);
    expect(world.parts.replica.state.killed(SCOPE)).toBe(true);
    expect(await refusal(put())).toBe("op_not_allowed");
  });

  const signedBy = (bytes: Uint8Array) => fromBinary(SignedRecordSchema, bytes);
});
