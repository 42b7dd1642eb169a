import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { CommandRefused } from "../../coordinator/command-refused.ts";
import type { MeshRecord } from "../../mesh/record.ts";
import { BusFault } from "../../ports/bus.ts";
import { StoreFault, type Write } from "../../ports/store.ts";
import type { AppendFate } from "../../ports/twin-bus.ts";
import type { CommitFate } from "../../ports/twin-store.ts";
import { KillSchema, PolicySchema, ReviveSchema } from "../../proto/gen/altrace/v1/record_pb.ts";
import { CoordinatorWorld, LIMITS, type TestNode } from "../unit/coordinator/coordinator-world.ts";

// A command passes these points: the write to the coordinator's disk, the append to the stream, the
// write that says it is committed. At each point the step fails without effect, has its effect and
// fails, or the coordinator dies before or after the effect. Whatever happens, a kill that anybody
// heard of ends in force and committed, and any other command either happens everywhere or nowhere.

const SCOPE = "agent/pay/bot";
const SUBJECT = "alt.ctl.kill.agent.pay.bot";

type Blow = "fails" | "fails_after_effect" | "dies_before" | "dies_after";
const BLOWS: readonly Blow[] = ["fails", "fails_after_effect", "dies_before", "dies_after"];

/** Deals one blow at the `at`-th step that the command takes on disk or stream. */
class Fate {
  at = Number.POSITIVE_INFINITY;
  blow: Blow = "fails";
  steps = 0;
  onDeath: () => void = () => undefined;

  next(): Blow | undefined {
    this.steps += 1;
    if (this.steps !== this.at) return undefined;
    if (this.blow === "dies_before" || this.blow === "dies_after") queueMicrotask(this.onDeath);
    return this.blow;
  }

  commit(writes: readonly Write[]): CommitFate {
    // Records save themselves as well; only the command's own writes are steps.
    if (!writes.some(({ key }) => key.startsWith("command/"))) return "good";
    const blow = this.next();
    if (blow === undefined) return "good";
    return blow === "fails" || blow === "dies_before"
      ? "fails_not_persisted"
      : "fails_but_persisted";
  }

  append(): AppendFate {
    const blow = this.next();
    if (blow === undefined) return "good";
    return blow === "fails" || blow === "dies_before" ? "not_stored" : "stored_unanswered";
  }
}

async function world(): Promise<{ world: CoordinatorWorld; fate: Fate; node: TestNode }> {
  const fate = new Fate();
  const made = new CoordinatorWorld({
    store: { commitFate: (writes) => fate.commit(writes) },
    busFaults: { appendFate: () => fate.append() },
  });
  await made.founded();
  const node = await made.addNode("n1");
  node.healing();
  await made.pass(1_000);
  fate.steps = 0;
  return { world: made, fate, node };
}

/** Runs a command that may be struck; restarts the coordinator if it died. */
async function run(
  { world, fate, node }: Awaited<ReturnType<typeof setUp>>,
  strike: { readonly at: number; readonly blow: Blow },
  command: () => Promise<unknown>,
): Promise<{ died: boolean; steps: number }> {
  let died = false;
  fate.at = strike.at;
  fate.blow = strike.blow;
  fate.onDeath = () => {
    died = true;
    world.crash();
  };
  command().catch((error: unknown) => {
    const isExpected =
      error instanceof StoreFault || error instanceof BusFault || error instanceof CommandRefused;
    if (!isExpected) throw error;
  });
  for (let i = 0; i < 20 && !died; i += 1) await world.pass(250);
  fate.at = Number.POSITIVE_INFINITY;
  if (died) await world.founded();
  for (let i = 0; i < 8; i += 1) {
    node.beat();
    await world.pass(1_000);
  }
  return { died, steps: fate.steps };
}

const setUp = world;

/** Coordinator, node and stream hold the same record of the scope. */
async function agreed(
  { world, node }: Awaited<ReturnType<typeof setUp>>,
  scope: string,
  subject: string,
): Promise<MeshRecord | undefined> {
  const here = world.parts.replica.state.get(scope);
  expect(node.state.get(scope)?.hashHex).toBe(here?.hashHex);
  expect((await world.inStream(subject))?.hashHex).toBe(here?.hashHex);
  expect(node.state.hashHex()).toBe(world.parts.replica.state.hashHex());
  expect([...world.parts.commands.all()].every(({ bytes }) => bytes === undefined)).toBe(true);
  return here;
}

const points = [1, 2, 3].flatMap((at) => BLOWS.map((blow) => ({ at, blow })));

describe("a kill", () => {
  test.each(points)("converges although step $at $blow", async (strike) => {
    const mesh = await setUp();
    const cmdId = mesh.world.newId();
    const fields = { cmdId, scope: SCOPE, reason: "drill", cause: "", operator: "olga" };
    const { steps } = await run(mesh, strike, () => mesh.world.parts.commands.kill(fields));
    expect(steps, "the blow was dealt").toBeGreaterThanOrEqual(strike.at);
    const record = await agreed(mesh, SCOPE, SUBJECT);
    expect(record?.op.case).toBe("kill");
    expect(record?.cmdId).toBe(cmdId);
    expect(mesh.world.store.durable.has(`record/${SCOPE}`)).toBe(true);
  });

  test.each(points)("called again after step $at $blow is the same command", async (strike) => {
    const mesh = await setUp();
    const cmdId = mesh.world.newId();
    const fields = { cmdId, scope: SCOPE, reason: "drill", cause: "", operator: "olga" };
    await run(mesh, strike, () => mesh.world.parts.commands.kill(fields));
    const again = await mesh.world.parts.commands.kill(fields);
    await mesh.world.pass(3_000);
    expect(again).toMatchObject({ accepted: true, committed: true });
    const record = await agreed(mesh, SCOPE, SUBJECT);
    expect(record?.cmdId).toBe(cmdId);
    expect(record?.op.case).toBe("kill");
  });
});

describe("a revive", () => {
  test.each(points)("happens everywhere or nowhere although step $at $blow", async (strike) => {
    const mesh = await setUp();
    const cmdId = mesh.world.newId();
    const fields = { cmdId, scope: SCOPE, reason: "drill", cause: "", operator: "olga" };
    await mesh.world.parts.commands.kill(fields);
    await mesh.world.pass(1_000);
    mesh.fate.steps = 0;
    const op = { case: "revive" as const, value: create(ReviveSchema, { reason: "over" }) };
    const bytes = mesh.world.sign(SCOPE, op);
    let early = 0;
    const watch = mesh.world.outside.listen("alt.fast.kill.>", (message) => {
      if (Buffer.compare(message.bytes, bytes) === 0) early += 1;
    });
    const { steps } = await run(mesh, strike, () =>
      mesh.world.parts.commands.carry(bytes, ["revive"]),
    );
    watch();
    expect(early, "a revive on the fast path").toBe(0);
    expect(steps, "the blow was dealt").toBeGreaterThanOrEqual(Math.min(strike.at, 1));
    const record = await agreed(mesh, SCOPE, SUBJECT);
    // Only a failure of the very first write, which the caller hears of, may leave it undone.
    const mayBeUndone =
      strike.at === 1 &&
      (strike.blow === "fails" ||
        strike.blow === "dies_before" ||
        strike.blow === "fails_after_effect");
    if (!mayBeUndone) expect(record?.op.case).toBe("revive");
    expect(["kill", "revive"]).toContain(record?.op.case);
  });
});

test("a record whose caller heard that it was not accepted is not found by a later start", async () => {
  const mesh = await setUp();
  const op = { case: "kill" as const, value: create(KillSchema, {}) };
  const bytes = mesh.world.sign("key/abcdefgh", op);
  await run(mesh, { at: 1, blow: "fails_after_effect" }, () =>
    mesh.world.parts.commands.carry(bytes, ["kill"]),
  );
  mesh.world.crash();
  await mesh.world.founded();
  await mesh.world.pass(3_000);
  expect(mesh.world.parts.replica.state.get("key/abcdefgh")).toBeUndefined();
});

describe("a policy", () => {
  test.each(points)("happens everywhere or nowhere although step $at $blow", async (strike) => {
    const mesh = await setUp();
    const body = Buffer.from(JSON.stringify(LIMITS));
    const sha256 = createHash("sha256").update(body).digest();
    const value = create(PolicySchema, { sha256, size: BigInt(body.length), body });
    const bytes = mesh.world.sign("policy", { case: "policy", value });
    await run(mesh, strike, () => mesh.world.parts.commands.carry(bytes, ["policy"]));
    const record = await agreed(mesh, "policy", "alt.ctl.policy");
    const rows = await mesh.world.parts.ledger.rows("overrun");
    expect(rows).toHaveLength(record ? 1 : 0);
  });
});

describe("a stream that lost its end", () => {
  test("is written again from the coordinator and takes the next kill", async () => {
    const mesh = await setUp();
    const { world } = mesh;
    const kill = (scope: string) =>
      world.parts.commands.kill({
        cmdId: world.newId(),
        scope,
        reason: "",
        cause: "",
        operator: "olga",
      });
    const first = await kill(SCOPE);
    await world.until(() => first.committed);
    // The server comes back empty: another hub, to which coordinator and node connect.
    const fresh = new CoordinatorWorld({ seed: 1 });
    world.crash();
    world.bus = fresh.bus;
    mesh.node.bus.cut("in");
    await world.start();
    await world.pass(3_000);
    const last = await fresh.outside.last("ALT_CTL", SUBJECT);
    const opened = last && world.parts.replica.open(last.bytes, last.subject);
    expect(opened?.ok && opened.record.cmdId).toBe(first.cmdId);
    expect(world.events("record_reoffered").length).toBeGreaterThanOrEqual(3);
    const second = await kill("team/pay");
    await world.until(() => second.committed);
  });
});
