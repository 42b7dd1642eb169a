import { create, fromBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import type { RecordOp } from "../../../mesh/record-op.ts";
import { personTag, REDACTION_FRESH_MS } from "../../../mesh/redaction.ts";
import type { Signer } from "../../../ports/keys.ts";
import { RedactSchema, SignedRecordSchema } from "../../../proto/gen/altrace/v1/record_pb.ts";
import { CoordinatorWorld, MESH } from "./coordinator-world.ts";

const SCOPE = "redaction/01998f3e-0000-7000-8000-000000000001";

function redact(madeByMs: number, person = "user:alice"): RecordOp {
  const of = { person: personTag(MESH, person), madeByMs: BigInt(madeByMs), reason: "asked_for" };
  return { case: "redact", value: create(RedactSchema, of) };
}

async function ordered(world: CoordinatorWorld, op: RecordOp, signer?: Signer) {
  const record = fromBinary(SignedRecordSchema, world.sign(SCOPE, op, signer));
  const { command } = await world.parts.service.redactPerson({ record });
  await world.flush();
  const known = world.parts.commands.get(command?.cmdId ?? "");
  if (!known) throw new Error("no command");
  const current = world.parts.replica.state.get(SCOPE);
  if (!current) throw new Error("no record");
  return { command: known, record: current };
}

async function founded(): Promise<CoordinatorWorld> {
  const world = new CoordinatorWorld();
  await world.founded();
  return world;
}

describe("an order to erase a person", () => {
  test("is done once every node has said so; one that is away is not done by staying away", async () => {
    const world = await founded();
    const [here, away] = [await world.addNode("n1"), await world.addNode("n2")];
    for (const node of [here, away]) node.acknowledges = false;
    away.bus.cut("in");
    away.bus.cut("out");
    const { command, record } = await ordered(world, redact(world.clock.nowMs()));
    const { registry } = world.parts;
    here.ack(record, { closed: false });
    await world.flush();
    expect(registry.isDone(command)).toBe(false);
    here.ack(record, { closed: true });
    await world.pass(600_000);
    expect(registry.progress(command)).toMatchObject([
      { node: "n1", ack: { closed: true, durable: true } },
      { node: "n2", ack: undefined, containedAtMs: 0, isContained: false },
    ]);
    expect(registry.isDone(command)).toBe(false);
    away.bus.heal();
    away.repair();
    away.ack(record, { closed: true });
    await world.flush();
    expect(registry.isDone(command)).toBe(true);
  });

  test("counts as done by a heartbeat that says so, and not by one that only has our state", async () => {
    const world = await founded();
    const node = await world.addNode("n1");
    node.acknowledges = false;
    const { command } = await ordered(world, redact(world.clock.nowMs()));
    node.beat({ closed: false });
    await world.flush();
    expect(world.parts.registry.isDone(command)).toBe(false);
    node.beat({ closed: true });
    await world.flush();
    expect(world.parts.registry.isDone(command)).toBe(true);
  });

  test("is refused where nobody may give it, or where it is of another time", async () => {
    const world = await founded();
    const nowMs = world.clock.nowMs();
    const reason = (op: RecordOp, signer?: Signer) =>
      ordered(world, op, signer).then(
        () => "carried",
        (error: { reason?: string }) => error.reason,
      );
    expect(await reason(redact(nowMs), world.coordinator)).toBe("signer_not_allowed");
    expect(await reason(redact(nowMs - REDACTION_FRESH_MS - 1))).toBe("redaction_expired");
    expect(await reason(redact(nowMs + REDACTION_FRESH_MS + 1))).toBe("redaction_expired");
    expect(await reason(redact(nowMs - REDACTION_FRESH_MS))).toBe("carried");
  });

  test("is signed again as it was, however old, and not for anybody else", async () => {
    const world = await founded();
    const madeByMs = world.clock.nowMs();
    await ordered(world, redact(madeByMs));
    await world.pass(2 * REDACTION_FRESH_MS);
    const expired = { reason: "redaction_expired" };
    await expect(ordered(world, redact(madeByMs, "user:bob"))).rejects.toMatchObject(expired);
    await expect(ordered(world, redact(madeByMs + 1))).rejects.toMatchObject(expired);
    const { record } = await ordered(world, redact(madeByMs));
    expect(record.v).toBe(2);
  });
});
