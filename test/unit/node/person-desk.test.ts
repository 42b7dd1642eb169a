import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import type { AuditRecord, RedactRecord } from "../../../audit/record.ts";
import { personTag } from "../../../mesh/redaction.ts";
import { CarriedOrders } from "../../../node/audit/carried-orders.ts";
import { PersonKeys, readPersons } from "../../../node/audit/person-keys.ts";
import { LoopPersons } from "../../../node/loop-persons.ts";
import { PersonDesk } from "../../../node/person-desk.ts";
import type { Pseudonym, Redaction } from "../../../node/person-messages.ts";
import type {
  ControlToLoop,
  ControlToMesh,
  LoopToControl,
  MeshToControl,
} from "../../../node/thread-messages.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { TwinDisk } from "./audit/twin-disk.ts";

const OPERATOR = "0011223344556677";
const tagOf = (person: string) => personTag("acme", person).toString("hex");

/** A node's desk, one loop and the mesh, on a disk. */
function world(disk = new TwinDisk(), { isWritable = true, slotsMax = 16 } = {}) {
  const random = { bytes: (count: number) => randomBytes(count) };
  const clock = twinClock();
  const log: AuditRecord[] = [];
  const faults: unknown[] = [];
  const answers: ControlToMesh[] = [];
  const state = { isWritable };
  const waiting = new Map<number, (pseudonym: Pseudonym | undefined) => void>();
  const heard: { fn?: (message: LoopToControl) => void; mesh?: (one: MeshToControl) => void } = {};
  const post = (message: ControlToLoop): void => {
    if (message.t === "pseudonym") waiting.get(message.id)?.(message.pseudonym);
    if (message.t === "persons_erased") persons.forget();
  };
  const keys = new PersonKeys({
    ...{ disk, home: "/home", random, slotsMax, tagOf },
    ...{ periodMs: 86_400_000, keepMs: undefined },
  });
  const desk = new PersonDesk({
    node: "node-7",
    clock,
    keys,
    carried: new CarriedOrders(disk, "/home"),
    loops: [{ no: 0, post, onMessage: (fn) => Object.assign(heard, { fn }) }],
    mesh: {
      onMessage: (mesh) => Object.assign(heard, { mesh }),
      post: (message) => answers.push(message),
    },
    append: (record) => {
      if (state.isWritable) log.push(record);
    },
    isWritable: () => state.isWritable,
    onFault: (error) => faults.push(error),
  });
  const link = {
    pseudonymOf: (person: string) =>
      new Promise<Pseudonym | undefined>((resolve) => {
        waiting.set(1, resolve);
        heard.fn?.({ t: "person", id: 1, person });
      }),
  };
  const persons = new LoopPersons(link, clock);
  const orderOf = (person: string, id = "1"): Redaction => ({
    ...{ scope: `redaction/${id}`, record: `hash of ${id}`, tag: tagOf(person) },
    ...{ madeByMs: clock.nowMs(), by: OPERATOR, reason: "asked_for" },
  });
  const order = (one: Redaction) => heard.mesh?.({ t: "redaction", ...one });
  const redacted = () => (log as RedactRecord[]).map(({ kid, by, rc }) => ({ kid, by, rc }));
  desk.start();
  return { desk, persons, orderOf, order, redacted, faults, answers, state, clock };
}

/** What the mesh hears of the order with this id. */
function done(count: number, id = "1"): ControlToMesh {
  return { t: "redacted", scope: `redaction/${id}`, record: `hash of ${id}`, count };
}

test("a loop asks once for a person, and again once that person was erased, which the log says", async () => {
  const { persons, order, orderOf, redacted, answers } = world();
  expect(persons.known("user:alice")).toBeUndefined();
  const first = await persons.find("user:alice");
  expect(persons.known("user:alice")).toBe(first);
  order(orderOf("user:alice"));
  expect(answers).toEqual([done(1)]);
  expect(redacted()).toEqual([{ kid: first, by: OPERATOR, rc: "asked_for" }]);
  expect(persons.known("user:alice")).toBeUndefined();
  expect(await persons.find("user:alice")).not.toBe(first);
});

test("an order for somebody whom the node does not know is done, and nobody is erased by it", async () => {
  const { persons, order, orderOf, redacted, answers } = world();
  const first = await persons.find("user:alice");
  order(orderOf("user:nobody"));
  expect(answers).toEqual([done(0)]);
  expect(persons.known("user:alice")).toBe(first);
  expect(redacted()).toEqual([]);
});

test("what the log could not take is told when it can be, after a restart as well, and once", async () => {
  const disk = new TwinDisk();
  const { desk, persons, order, orderOf, redacted, answers, state, clock } = world(disk);
  const first = await persons.find("user:alice");
  state.isWritable = false;
  order(orderOf("user:alice"));
  // The key is gone; that it is done is said once the log says so too.
  expect(await persons.find("user:alice")).not.toBe(first);
  expect(answers).toEqual([]);
  const next = world(disk.afterCrash());
  expect(next.redacted()).toMatchObject([{ kid: first }]);
  state.isWritable = true;
  for (let minute = 0; minute < 4; minute++) clock.advance(60_000);
  expect(redacted()).toMatchObject([{ kid: first }]);
  expect(answers).toEqual([done(1)]);
  desk.stop();
});

test("an order that is new to a node takes all keys, though they were made by a clock that was far ahead", async () => {
  const { persons, order, orderOf, answers, redacted, clock } = world();
  const given = orderOf("user:alice");
  clock.advance(30 * 86_400_000);
  const first = await persons.find("user:alice");
  order(given);
  expect(redacted()).toMatchObject([{ kid: first }]);
  expect(answers).toEqual([done(1)]);
});

test("so it does after a crash in the middle of it", async () => {
  const disk = new TwinDisk();
  const { persons, order, orderOf, faults, clock } = world(disk);
  const given = orderOf("user:alice");
  clock.advance(30 * 86_400_000);
  const first = await persons.find("user:alice");
  disk.options = {
    onStep: (step) => {
      if (step === "write") throw new Error("EIO");
    },
  };
  order(given);
  expect(faults.map(String)).toEqual(["Error: EIO"]);
  const next = world(disk.afterCrash());
  next.clock.advance(30 * 86_400_000);
  next.order(given);
  expect(next.redacted()).toMatchObject([{ kid: first }]);
});

test.each(["a disk that was closed in order", "a disk with half an entry at its end"])(
  "an order that was carried out once leaves who came back since, on %s",
  async (which) => {
    const disk = new TwinDisk();
    const { desk, persons, order, orderOf, answers, clock } = world(disk);
    await persons.find("user:alice");
    const [given, other] = [orderOf("user:alice"), orderOf("user:bob", "2")];
    order(given);
    clock.advance(1_000);
    const second = await persons.find("user:alice");
    order(given);
    expect(answers).toEqual([done(1), done(0)]);
    desk.stop();
    expect(disk.openFiles).toBe(0);
    if (which.includes("half")) {
      const fd = disk.open("/home/persons/orders");
      disk.write(fd, Buffer.from("half"), disk.size(fd));
    }
    // Written behind it, and found by the start after.
    const between = disk.afterCrash();
    world(between).order(other);
    const next = world(between.afterCrash());
    next.clock.advance(1_000);
    const bob = await next.persons.find("user:bob");
    for (const one of [given, other]) next.order(one);
    expect(next.answers).toEqual([done(0), done(0, "2")]);
    expect(await next.persons.find("user:alice")).toBe(second);
    expect(await next.persons.find("user:bob")).toBe(bob);
  },
);

test("keys that a backup brings back go again at the next start", async () => {
  const disk = new TwinDisk();
  const before = world(disk);
  const first = await before.persons.find("user:alice");
  const backup = disk.afterCrash();
  const order = before.orderOf("user:alice");
  before.order(order);
  const restored = world(backup);
  restored.clock.advance(30 * 86_400_000);
  restored.order(order);
  expect(restored.answers).toEqual([done(1)]);
  expect(restored.redacted()).toMatchObject([{ kid: first }]);
  expect(readPersons(backup, "/home")).toMatchObject([{ state: "erased", pseudonym: first }]);
});

test("a loop uses no key any more whose erasure failed, and the order is carried out a minute later", async () => {
  const disk = new TwinDisk();
  const { persons, order, orderOf, answers, faults, clock } = world(disk);
  const first = await persons.find("user:alice");
  disk.options = {
    onStep: (step) => {
      if (step === "syncData") throw new Error("EIO");
    },
  };
  order(orderOf("user:alice"));
  expect(faults.map(String)).toEqual(["Error: EIO"]);
  expect(answers).toEqual([]);
  disk.options = {};
  expect(persons.known("user:alice")).toBeUndefined();
  expect(await persons.find("user:alice")).not.toBe(first);
  clock.advance(60_000);
  // The one of before and the one since: it had not been carried out.
  expect(answers).toEqual([done(2)]);
});

test("where there is no room for a key there is no pseudonym, and the operator hears of it", async () => {
  const { persons, faults } = world(new TwinDisk(), { slotsMax: 1 });
  await persons.find("user:alice");
  expect(await persons.find("user:bob")).toBeUndefined();
  expect(String(faults[0])).toContain("ALTRACE_AUDIT_PERSONS_MAX");
});
