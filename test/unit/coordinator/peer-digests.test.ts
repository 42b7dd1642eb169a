import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { DIFFERING_FROM } from "../../../coordinator/peer-digests.ts";
import { seal } from "../../../mesh/sealed.ts";
import type { Signer } from "../../../ports/keys.ts";
import { BeatSchema } from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { KillSchema, TrustRole, TrustSchema } from "../../../proto/gen/altrace/v1/record_pb.ts";
import { CoordinatorWorld } from "./coordinator-world.ts";

const SCOPE = "agent/pay/bot";
const KILL_BOT = "alt.ctl.kill.agent.pay.bot";

/** A coordinator that believes a kill to be in the stream, which lost it while nobody looked, and another. */
async function rolledBack() {
  const world = new CoordinatorWorld();
  await world.founded();
  const other = world.keys.loadOrCreate("another-coordinator");
  const keys = [world.coordinator, other].map(({ kid, publicKey }) => {
    return { kid, publicKey, role: TrustRole.COORDINATOR };
  });
  const trust = { case: "trust" as const, value: create(TrustSchema, { keys }) };
  const command = await world.parts.commands.carry(world.sign("trust", trust), ["trust"]);
  await world.until(() => command.committed);
  const { replica } = world.parts;
  const without = replica.state.hash();
  const op = { case: "kill" as const, value: create(KillSchema, {}) };
  const opened = replica.open(world.sign(SCOPE, op, other));
  if (!opened.ok) throw new Error(opened.detail);
  replica.take(opened.record, 1);
  await world.flush();
  let n = 0n;
  const says = async (
    stateHash: Uint8Array,
    of: { by?: Signer; lastSeq?: number; times?: number } = {},
  ) => {
    n += 1n;
    const lastSeq = BigInt(of.lastSeq ?? replica.lastSeq);
    const beat = create(BeatSchema, { from: "c2", bootId: "b", n, lastSeq, stateHash });
    const bytes = seal("beat", toBinary(BeatSchema, beat), of.by ?? other);
    for (let no = 0; no < (of.times ?? 1); no++) world.outside.send("alt.dig", bytes);
    await world.flush();
  };
  return { world, without, says };
}

test("who differs from another coordinator for long writes again what the stream has lost", async () => {
  const { world, without, says } = await rolledBack();
  for (let no = 1; no < DIFFERING_FROM; no++) await says(without);
  await world.pass(1_000);
  expect(await world.inStream(KILL_BOT)).toBeUndefined();
  await says(without);
  await world.pass(1_000);
  expect(await world.inStream(KILL_BOT)).toMatchObject({ v: 1, op: { case: "kill" } });
  expect(world.events("states_differ")).toHaveLength(1);
});

test("so does who has read further than a stream goes that was rolled back", async () => {
  const { world, without, says } = await rolledBack();
  const lastSeq = world.parts.replica.lastSeq - 1;
  for (let no = 1; no < DIFFERING_FROM; no++) await says(without, { lastSeq });
  await world.pass(1_000);
  expect(world.events("states_differ")).toEqual([]);
  await says(without, { lastSeq });
  await world.pass(1_000);
  expect(await world.inStream(KILL_BOT)).toMatchObject({ v: 1, op: { case: "kill" } });
  expect(world.events("states_differ")).toHaveLength(1);
});

test("one that has read less far and reads on has nothing read again", async () => {
  const { world, without, says } = await rolledBack();
  const { replica, commands } = world.parts;
  for (let no = 0; no < 2 * DIFFERING_FROM; no++) {
    const lastSeq = replica.lastSeq;
    const fields = {
      cmdId: world.newId(),
      scope: `team/t${no}`,
      reason: "",
      cause: "",
      operator: "",
    };
    const command = await commands.kill(fields);
    await world.until(() => command.committed && replica.lastSeq > lastSeq);
    await says(without, { lastSeq });
    await says(without, { lastSeq });
  }
  expect(world.events("states_differ")).toEqual([]);
});

test("one that agrees between, has read further, or is no coordinator has nothing read again", async () => {
  const { world, without, says } = await rolledBack();
  const { state, lastSeq } = world.parts.replica;
  const stranger = world.keys.loadOrCreate("stranger");
  for (let no = 0; no < 4 * DIFFERING_FROM; no++) {
    if (no % (DIFFERING_FROM - 1) === 0) await says(state.hash());
    await says(without);
    await says(without, { lastSeq: lastSeq + 1 });
    await says(without, { by: stranger });
  }
  await world.pass(1_000);
  expect(await world.inStream(KILL_BOT)).toBeUndefined();
  expect(world.events("states_differ")).toEqual([]);
});

test("one digest that is said over and over again is one", async () => {
  const { world, without, says } = await rolledBack();
  await says(without, { times: 4 * DIFFERING_FROM });
  await world.pass(1_000);
  expect(world.events("states_differ")).toEqual([]);
});
