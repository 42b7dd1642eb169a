import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import type { AuditRecord, RedactRecord } from "../../../audit/record.ts";
import { signRedactOrder } from "../../../mesh/redact-order.ts";
import { PersonKeys } from "../../../node/audit/person-keys.ts";
import { LoopPersons } from "../../../node/loop-persons.ts";
import { PersonDesk } from "../../../node/person-desk.ts";
import type { ControlToLoop, LoopToControl, Pseudonym } from "../../../node/thread-messages.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinKeys } from "../../../ports/twin-keys.ts";
import { TwinDisk } from "./audit/twin-disk.ts";

/** A node's desk and one loop, on a disk. */
function world(disk = new TwinDisk(), { isWritable = true, slotsMax = 16 } = {}) {
  const random = { bytes: (count: number) => randomBytes(count) };
  const clock = twinClock();
  const signers = twinKeys(random);
  const operator = signers.loadOrCreate("operator");
  const log: AuditRecord[] = [];
  const faults: unknown[] = [];
  const state = { isWritable };
  const waiting = new Map<number, (pseudonym: Pseudonym | undefined) => void>();
  const heard: { fn?: (message: LoopToControl) => void } = {};
  const post = (message: ControlToLoop): void => {
    if (message.t === "pseudonym") waiting.get(message.id)?.(message.pseudonym);
    if (message.t === "persons_erased") persons.forget();
  };
  const desk = new PersonDesk({
    mesh: "acme",
    node: "node-7",
    clock,
    verify: signers.verify,
    keys: new PersonKeys({
      ...{ disk, home: "/home", random, slotsMax },
      ...{ periodMs: 86_400_000, keepMs: undefined },
    }),
    loops: [{ no: 0, post, onMessage: (fn) => Object.assign(heard, { fn }) }],
    operatorKey: async (kid) => (kid === operator.kid ? operator.publicKey : undefined),
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
  const order = (person: string) => {
    const fields = { mesh: "acme", person, issuedAtMs: BigInt(clock.nowMs()), reason: "asked_for" };
    return signRedactOrder(fields, operator);
  };
  const redacted = () => (log as RedactRecord[]).map(({ kid, by, rc }) => ({ kid, by, rc }));
  desk.start();
  return { desk, persons, order, redacted, faults, state, clock, operator };
}

test("a loop asks once for a person, and again once that person was erased, which the log says", async () => {
  const { desk, persons, order, redacted, operator } = world();
  expect(persons.known("user:alice")).toBeUndefined();
  const first = await persons.find("user:alice");
  expect(persons.known("user:alice")).toBe(first);
  expect(await desk.redact(order("user:alice"))).toEqual([first]);
  expect(redacted()).toEqual([{ kid: first, by: operator.kid, rc: "asked_for" }]);
  expect(persons.known("user:alice")).toBeUndefined();
  expect(await persons.find("user:alice")).not.toBe(first);
  expect(await desk.redact(order("user:nobody"))).toEqual([]);
});

test("what the log could not take is told when it can be, after a restart as well, and once", async () => {
  const disk = new TwinDisk();
  const { desk, persons, order, redacted, state, clock } = world(disk);
  const first = await persons.find("user:alice");
  state.isWritable = false;
  await expect(desk.redact(order("user:alice"))).rejects.toMatchObject({
    reason: "audit_unavailable",
  });
  expect(await persons.find("user:alice")).not.toBe(first);
  const next = world(disk.afterCrash());
  expect(next.redacted()).toMatchObject([{ kid: first }]);
  state.isWritable = true;
  for (let minute = 0; minute < 4; minute++) clock.advance(60_000);
  expect(redacted()).toMatchObject([{ kid: first }]);
  desk.stop();
});

test("nobody is told that a person is erased of whom a key was made after the order was signed", async () => {
  const { desk, persons, order, redacted, clock } = world();
  const behind = order("user:alice");
  clock.advance(2_000);
  const first = await persons.find("user:alice");
  await expect(desk.redact(behind)).rejects.toMatchObject({ reason: "keys_made_later" });
  expect(redacted()).toEqual([]);
  expect(await desk.redact(order("user:alice"))).toEqual([first]);
});

test("a loop uses no key any more whose erasure failed", async () => {
  const disk = new TwinDisk();
  const { desk, persons, order } = world(disk);
  const first = await persons.find("user:alice");
  disk.options = {
    onStep: (step) => {
      if (step === "syncData") throw new Error("EIO");
    },
  };
  await expect(desk.redact(order("user:alice"))).rejects.toThrow("EIO");
  disk.options = {};
  expect(persons.known("user:alice")).toBeUndefined();
  expect(await persons.find("user:alice")).not.toBe(first);
});

test("an order that does not count erases nothing", async () => {
  const { desk, persons, order } = world();
  const first = await persons.find("user:alice");
  const signed = order("user:alice");
  await expect(desk.redact({ ...signed, kid: "8899aabbccddeeff" })).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
    reason: "key_unknown",
  });
  expect(persons.known("user:alice")).toBe(first);
});

test("where there is no room for a key there is no pseudonym, and the operator hears of it", async () => {
  const { persons, faults } = world(new TwinDisk(), { slotsMax: 1 });
  await persons.find("user:alice");
  expect(await persons.find("user:bob")).toBeUndefined();
  expect(String(faults[0])).toContain("ALTRACE_AUDIT_PERSONS_MAX");
});
