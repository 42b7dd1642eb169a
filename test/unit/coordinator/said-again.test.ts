import { create, fromBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { COORDINATOR_VERSION_MAX, restoreRecord, signRecord } from "../../../mesh/record.ts";
import type { RecordOp } from "../../../mesh/record-op.ts";
import { seal } from "../../../mesh/sealed.ts";
import { decodeSignedRecord, encodeSignedRecord } from "../../../mesh/signed-record.ts";
import { TAKEN_OUT_MS } from "../../../mesh/trust.ts";
import type { Signer } from "../../../ports/keys.ts";
import {
  KillSchema,
  LimitSchema,
  ReviveSchema,
  SignedRecordSchema,
  TrustRole,
  TrustSchema,
} from "../../../proto/gen/altrace/v1/record_pb.ts";
import { CoordinatorWorld, MESH } from "./coordinator-world.ts";

const SCOPE = "agent/pay/bot";
const KILL_BOT = "alt.ctl.kill.agent.pay.bot";
/** One coordinator's turn, and the commits. */
const TURN_MS = 2_000;

const killed: RecordOp = { case: "kill", value: create(KillSchema, { reason: "enough" }) };
const revive: RecordOp = { case: "revive", value: create(ReviveSchema, {}) };
const dearer = (milli: bigint): RecordOp => ({
  case: "limit",
  value: create(LimitSchema, { of: { case: "distrust", value: { milli } } }),
});

const named = ({ kid, publicKey }: Signer) => ({ kid, publicKey });

/** Coordinators in force, and those that were taken out of use. */
async function trustIs(
  world: CoordinatorWorld,
  inForce: readonly Signer[],
  removed: readonly Signer[] = [],
): Promise<void> {
  const op = bundle(world, inForce, removed);
  const command = await world.parts.commands.carry(world.sign("trust", op), ["trust"]);
  await world.until(() => command.committed);
}

function bundle(
  world: CoordinatorWorld,
  inForce: readonly Signer[],
  removed: readonly Signer[],
): RecordOp {
  const role = TrustRole.COORDINATOR;
  const keys = [
    { ...named(world.enrolment), role: TrustRole.ENROLMENT },
    ...inForce.map((signer) => ({ ...named(signer), role })),
    ...removed.map((key) => ({ ...named(key), role, notAfterMs: BigInt(TAKEN_OUT_MS) })),
  ];
  return { case: "trust", value: create(TrustSchema, { keys }) };
}

/** The same record with a signature beside it that this key never made. */
function alsoNaming({ kid }: Signer, bytes: Uint8Array): Uint8Array {
  const { payload, signatures } = decodeSignedRecord(bytes);
  const sig = signatures[0]?.sig as Uint8Array;
  return encodeSignedRecord({ payload, signatures: [{ kid, sig }, ...signatures] });
}

/** A mesh of two coordinators, of which one is real, and a node. */
async function meshOfTwo() {
  const world = new CoordinatorWorld();
  await world.founded();
  const other = world.keys.loadOrCreate("another-coordinator");
  await trustIs(world, [world.coordinator, other]);
  const node = await world.addNode("n1");
  const offer = (bytes: Uint8Array) => world.outside.send("alt.heal.n1", bytes);
  return { world, other, node, offer };
}

function current(world: CoordinatorWorld, scope = SCOPE) {
  const record = world.parts.replica.state.get(scope);
  return record && { op: record.op.case, v: record.v, counts: world.parts.replica.counts(record) };
}

describe("what a coordinator said whose key was taken out of use", () => {
  test("is said again under a key in force, kills and distrust alike, after a restart too", async () => {
    const { world, other } = await meshOfTwo();
    const { commands } = world.parts;
    for (const [scope, op] of [
      [SCOPE, killed],
      ["distrust/openai/gpt-5", dearer(2_000n)],
    ] as const) {
      const command = await commands.carry(world.sign(scope, op, other), [op.case]);
      await world.until(() => command.committed);
    }
    await trustIs(world, [world.coordinator], [other]);
    expect(current(world)).toEqual({ op: "kill", v: 1, counts: false });
    world.crash();
    await world.start();
    await world.pass(TURN_MS);
    expect(current(world)).toEqual({ op: "kill", v: 2, counts: true });
    const distrust = world.parts.replica.state.get("distrust/openai/gpt-5");
    expect(distrust?.op).toMatchObject({ value: { of: { value: { milli: 2_000n } } } });
    expect(current(world, "distrust/openai/gpt-5")).toMatchObject({ v: 2, counts: true });
    expect(await world.inStream(KILL_BOT)).toMatchObject({ v: 2, op: { case: "kill" } });
    expect(world.events("record_said_again")).toHaveLength(2);
    await world.pass(10_000);
    expect(world.events("record_said_again")).toHaveLength(2);
  });

  test.each([
    ["as it was heard", false],
    ["as it lies on the disk", true],
  ])(
    "is said again though it names a key in force that never signed it, %s",
    async (_how, isRestored) => {
      const { world, other, node } = await meshOfTwo();
      const { coordinator, operator } = world;
      const heard = alsoNaming(coordinator, alsoNaming(operator, world.sign(SCOPE, killed, other)));
      const command = await world.parts.commands.carry(heard, ["kill"]);
      await world.until(() => command.committed);
      const vouched = alsoNaming(coordinator, world.sign("team/pay", killed, other));
      await trustIs(world, [coordinator], [other]);
      expect(current(world)).toEqual({ op: "kill", v: 1, counts: false });
      if (isRestored) {
        world.crash();
        await world.start();
        expect(current(world)).toEqual({ op: "kill", v: 1, counts: false });
      }
      world.outside.send("alt.heal.n1", seal("kept", vouched, node.signer));
      await world.pass(2 * TURN_MS);
      expect(current(world)).toEqual({ op: "kill", v: 2, counts: true });
      expect(current(world, "team/pay")).toEqual({ op: "kill", v: 2, counts: true });
    },
  );

  test("is left alone by the removed coordinator itself, and where an operator's word follows", async () => {
    const { world, other } = await meshOfTwo();
    const fields = { cmdId: world.newId(), scope: SCOPE, reason: "", cause: "", operator: "olga" };
    const own = await world.parts.commands.kill(fields);
    await world.until(() => own.committed);
    await trustIs(world, [other], [world.coordinator]);
    await world.pass(10_000);
    expect(current(world)).toEqual({ op: "kill", v: 1, counts: false });
    // It has not even tried: under its own key the record would have been refused, and told.
    expect(world.events("record_refused")).toEqual([]);
    const undone = await world.parts.commands.carry(world.sign(SCOPE, revive), ["revive"]);
    await world.until(() => undone.committed);
    await trustIs(world, [world.coordinator], [other]);
    await world.pass(TURN_MS);
    expect(current(world)).toEqual({ op: "revive", v: 2, counts: true });
    expect(world.events("record_said_again")).toEqual([]);
  });

  test.each([
    ["nobody has written since", undefined],
    ["an operator's revive was written over", revive],
  ])("is told as lost where it was on its way and %s", async (_what, since) => {
    const { world, other } = await meshOfTwo();
    const fields = { scope: SCOPE, reason: "", cause: "", operator: "olga" };
    const { commands } = world.parts;
    const first = await commands.kill({ ...fields, cmdId: world.newId() });
    await world.until(() => first.committed);
    const put = async (subject: string, bytes: Uint8Array) => {
      const expectSeq = (await world.outside.last("ALT_CTL", subject))?.seq ?? 0;
      const stored = await world.outside.append(subject, bytes, { msgId: subject, expectSeq });
      expect(stored).not.toBe("conflict");
    };
    world.bus.cut("out");
    world.bus.cut("in");
    if (since) await put(KILL_BOT, world.sign(SCOPE, since));
    const second = await commands.kill({ ...fields, cmdId: world.newId() });
    await put("alt.ctl.trust", world.sign("trust", bundle(world, [other], [world.coordinator])));
    world.bus.heal();
    await world.until(() => second.conflict);
    await world.pass(TURN_MS);
    expect(second.committed).toBe(false);
    const last = await world.outside.last("ALT_CTL", KILL_BOT);
    const read = restoreRecord(last?.bytes ?? new Uint8Array(0), { mesh: MESH });
    expect(read.ok && read.record).toMatchObject(
      since ? { v: 2, op: { case: "revive" } } : { v: 1 },
    );
  });

  test("and that a node alone has heard is the mesh's by the node's seal, and is said again", async () => {
    const { world, other, node, offer } = await meshOfTwo();
    const heard = world.sign(SCOPE, killed, other);
    await trustIs(world, [world.coordinator], [other]);
    offer(seal("kept", heard, node.signer));
    await world.pass(TURN_MS);
    expect(current(world)).toEqual({ op: "kill", v: 2, counts: true });
    expect(await world.inStream(KILL_BOT)).toMatchObject({ v: 2, op: { case: "kill" } });
    offer(seal("kept", heard, node.signer));
    await world.pass(TURN_MS);
    expect(current(world)).toMatchObject({ v: 2 });
  });

  test("is nothing without a node's seal, and nothing but a kill or a distrust with it", async () => {
    const { world, other, node, offer } = await meshOfTwo();
    const heard = world.sign(SCOPE, killed, other);
    const undone = world.sign("team/pay", revive, other);
    await trustIs(world, [world.coordinator], [other]);
    const stranger = world.keys.loadOrCreate("stranger");
    offer(heard);
    offer(seal("kept", heard, stranger));
    offer(seal("ack", heard, node.signer));
    offer(seal("kept", undone, node.signer));
    offer(seal("kept", world.sign("team/pay", killed, stranger), node.signer));
    offer(seal("kept", world.sign("team/pay", killed, node.signer), node.signer));
    world.outside.send("alt.heal.n2", seal("kept", heard, node.signer));
    await world.pass(TURN_MS);
    expect(current(world)).toBeUndefined();
    expect(current(world, "team/pay")).toBeUndefined();
    expect(world.events("record_refused")).toHaveLength(7);
  });

  test("stays that node's alone where nobody could say it again, and the mesh goes on", async () => {
    const { world, other, node, offer } = await meshOfTwo();
    const of = (scope: string, v: number) => {
      const fields = { mesh: MESH, scope, v, prev: new Uint8Array(32), op: killed };
      return signRecord(
        { ...fields, cmdId: world.newId(), issuedAtMs: 1, operator: "olga" },
        other,
      );
    };
    await trustIs(world, [world.coordinator], [other]);
    offer(seal("kept", of(SCOPE, COORDINATOR_VERSION_MAX), node.signer));
    offer(seal("kept", of("team/pay", COORDINATOR_VERSION_MAX - 1), node.signer));
    await world.pass(TURN_MS);
    expect(current(world)).toBeUndefined();
    expect(current(world, "team/pay")).toMatchObject({ v: COORDINATOR_VERSION_MAX, counts: true });
    expect(world.events("record_refused")).toHaveLength(1);
  });

  test("with the last number, that coordinators have, is told, and an operator renews it", async () => {
    const { world, other, offer } = await meshOfTwo();
    const fields = {
      mesh: MESH,
      scope: SCOPE,
      prev: new Uint8Array(32),
      op: killed,
      issuedAtMs: 1,
    };
    const of = { ...fields, v: COORDINATOR_VERSION_MAX, cmdId: world.newId(), operator: "olga" };
    offer(signRecord(of, other));
    await world.pass(TURN_MS);
    await trustIs(world, [world.coordinator], [other]);
    await world.pass(TURN_MS);
    expect(current(world)).toEqual({ op: "kill", v: COORDINATOR_VERSION_MAX, counts: false });
    expect(world.events("record_refused")).toHaveLength(1);
    const { service } = world.parts;
    const renewed = world.sign(SCOPE, killed);
    await service.putKey({ record: fromBinary(SignedRecordSchema, renewed) });
    await world.pass(TURN_MS);
    expect(current(world)).toEqual({ op: "kill", v: COORDINATOR_VERSION_MAX + 1, counts: true });
    const undone = await world.parts.commands.carry(world.sign(SCOPE, revive), ["revive"]);
    await world.until(() => undone.committed);
    expect(current(world)).toMatchObject({ op: "revive", v: COORDINATOR_VERSION_MAX + 2 });
  });

  test("is nobody's once its key is off the list, nor older than what the mesh has", async () => {
    const { world, other, node, offer } = await meshOfTwo();
    const heard = world.sign(SCOPE, killed, other);
    const old = world.sign("team/pay", killed, other);
    const { commands } = world.parts;
    for (const op of [killed, revive]) {
      const command = await commands.carry(world.sign("team/pay", op), [op.case]);
      await world.until(() => command.committed);
    }
    await trustIs(world, [world.coordinator], [other]);
    offer(seal("kept", old, node.signer));
    await trustIs(world, [world.coordinator]);
    offer(seal("kept", heard, node.signer));
    await world.pass(TURN_MS);
    expect(current(world)).toBeUndefined();
    expect(current(world, "team/pay")).toMatchObject({ op: "revive", v: 2 });
  });
});
