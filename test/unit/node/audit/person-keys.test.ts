import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { pseudonymOf } from "../../../../audit/pseudonym.ts";
import { PersonKeys, readPersons } from "../../../../node/audit/person-keys.ts";
import { decodeSlot, encodeSlot, SLOT_BYTES } from "../../../../node/audit/person-slot.ts";
import { readWhole } from "../../../../ports/disk.ts";
import { TwinDisk } from "./twin-disk.ts";

const DAY_MS = 86_400_000;
const T0 = 1_790_000_000_000;
const FILE = "/home/persons/keys";
const BY = { by: "0011223344556677", reason: "person_erased" };

function open(disk: TwinDisk, more: { slotsMax?: number; keepMs?: number } = {}): PersonKeys {
  const random = { bytes: (count: number) => randomBytes(count) };
  const of = { disk, home: "/home", random, periodMs: DAY_MS, keepMs: undefined, slotsMax: 16 };
  return new PersonKeys({ ...of, tagOf, ...more });
}

function tagOf(person: string): string {
  return `tag of ${person}`;
}

function nameIn(disk: TwinDisk, name: string): boolean {
  return (readWhole(disk, FILE) as Buffer).includes(name);
}

function kept(keys: PersonKeys, person: string, nowMs = T0) {
  const one = keys.pseudonymFor(person, nowMs);
  if (one === "full") throw new Error("full");
  return one;
}

test("a person stands under one pseudonym within a period, and under another one in the next", () => {
  const keys = open(new TwinDisk());
  const first = kept(keys, "user:alice");
  expect(kept(keys, "user:alice", T0 + 1).pseudonym).toBe(first.pseudonym);
  expect(kept(keys, "user:bob").pseudonym).not.toBe(first.pseudonym);
  expect(first.pseudonym).toBe(pseudonymOf(first.key, "user:alice"));
  const next = kept(keys, "user:alice", first.untilMs);
  expect(next.pseudonym).not.toBe(first.pseudonym);
  // The clock was set back: the later key stays in use.
  expect(kept(keys, "user:alice", T0).pseudonym).toBe(next.pseudonym);
});

test("P1: a key that was used is there after a loss of power, whatever else is", () => {
  for (let draw = 0; draw < 8; draw++) {
    const disk = new TwinDisk();
    const { pseudonym } = kept(open(disk), "user:alice");
    const after = disk.afterPowerLoss(() => (draw % 4) / 4);
    expect(kept(open(after), "user:alice").pseudonym).toBe(pseudonym);
  }
});

test("P1: where the key cannot be brought to the disk there is none, and its place is used again", () => {
  const disk = new TwinDisk();
  const keys = open(disk, { slotsMax: 1 });
  disk.options = {
    onStep: (step) => {
      if (step === "syncData") throw new Error("EIO");
    },
  };
  expect(() => keys.pseudonymFor("user:alice", T0)).toThrow("EIO");
  expect(nameIn(disk, "alice")).toBe(false);
  disk.options = {};
  expect(kept(keys, "user:bob").state).toBe("kept");
});

test("P2: an erased key is overwritten with the person's name, in all periods, and for good", () => {
  const disk = new TwinDisk();
  const keys = open(disk);
  const all = [kept(keys, "user:alice"), kept(keys, "user:alice", T0 + DAY_MS)];
  const bob = kept(keys, "user:bob");
  const erased = keys.erase(tagOf("user:alice"), T0 + DAY_MS, { ...BY, nowMs: T0 + DAY_MS });
  expect(erased.map(({ pseudonym }) => pseudonym)).toEqual(all.map(({ pseudonym }) => pseudonym));
  const after = disk.afterPowerLoss(() => 0);
  const bytes = readWhole(after, FILE) as Buffer;
  expect(nameIn(after, "alice")).toBe(false);
  for (const { key } of all) expect(bytes.includes(Buffer.from(key))).toBe(false);
  expect(bytes.includes(Buffer.from(bob.key))).toBe(true);
  // Who comes back is somebody new to whoever reads the log.
  const again = kept(open(after), "user:alice", T0 + DAY_MS).pseudonym;
  expect(all.map(({ pseudonym }) => pseudonym)).not.toContain(again);
});

test("P2: an erasure that the disk did not take is told to nobody, and the same again is all of it", () => {
  const disk = new TwinDisk();
  const keys = open(disk);
  const [first, second] = [kept(keys, "user:alice"), kept(keys, "user:alice", T0 + DAY_MS)];
  const order = () => keys.erase(tagOf("user:alice"), T0 + DAY_MS, { ...BY, nowMs: T0 + DAY_MS });
  const onStep = (step: string) => {
    if (step === "syncData") throw new Error("EIO");
  };
  disk.options = { onStep };
  expect(order).toThrow("EIO");
  expect(keys.untold()).toEqual([]);
  disk.options = {};
  expect([first, second]).not.toContain(kept(keys, "user:alice", T0 + DAY_MS + 1));
  expect(order()).toMatchObject([first, second].map(({ pseudonym }) => ({ pseudonym })));
  const after = disk.afterPowerLoss(() => 0);
  for (const { key } of [first, second]) {
    expect((readWhole(after, FILE) as Buffer).includes(Buffer.from(key))).toBe(false);
  }
});

test("P2: an erasure that a crash kept from the disk is brought there before it is told", () => {
  const disk = new TwinDisk();
  const keys = open(disk);
  kept(keys, "user:alice");
  const onStep = (step: string) => {
    if (step === "syncData") throw new Error("EIO");
  };
  disk.options = { onStep };
  expect(() => keys.erase(tagOf("user:alice"), T0, { ...BY, nowMs: T0 })).toThrow("EIO");
  const next = disk.afterCrash();
  expect(open(next).untold()).toHaveLength(1);
  const left = next.afterPowerLoss(() => 0);
  expect(nameIn(left, "alice")).toBe(false);
});

test("an order leaves keys that were made after it", () => {
  const keys = open(new TwinDisk());
  kept(keys, "user:alice");
  const later = kept(keys, "user:alice", T0 + DAY_MS);
  expect(keys.erase(tagOf("user:alice"), T0, { ...BY, nowMs: T0 + DAY_MS })).toHaveLength(1);
  expect(keys.erase(tagOf("user:alice"), T0, { ...BY, nowMs: T0 + DAY_MS })).toEqual([]);
  expect(kept(keys, "user:alice", T0 + DAY_MS).pseudonym).toBe(later.pseudonym);
});

test("keys of periods that ended long ago are erased by their age", () => {
  const keys = open(new TwinDisk(), { keepMs: 10 * DAY_MS });
  const { untilMs, pseudonym } = kept(keys, "user:alice");
  expect(keys.eraseOld(untilMs + 10 * DAY_MS - 1)).toEqual([]);
  const [old] = keys.eraseOld(untilMs + 10 * DAY_MS);
  expect(old).toMatchObject({ pseudonym, by: "age", reason: "key_expired" });
});

test("P3: an erasure waits to be told through restarts, and then makes room for another key", () => {
  const disk = new TwinDisk();
  const keys = open(disk, { slotsMax: 1 });
  const { pseudonym } = kept(keys, "user:alice");
  keys.erase(tagOf("user:alice"), T0, { ...BY, nowMs: T0 });
  expect(keys.pseudonymFor("user:bob", T0)).toBe("full");
  const next = open(disk.afterCrash(), { slotsMax: 1 });
  expect(next.untold()).toMatchObject([{ ...BY, pseudonym, state: "erased" }]);
  next.told([pseudonym]);
  expect(next.untold()).toEqual([]);
  expect(kept(next, "user:bob").state).toBe("kept");
});

test("what was half erased when the power went is erased by the next start", () => {
  const disk = new TwinDisk();
  kept(open(disk), "user:alice");
  const fd = disk.open(FILE);
  disk.write(fd, Buffer.alloc(40), 60);
  disk.syncData(fd);
  const keys = open(disk);
  expect(keys.damaged).toBe(1);
  expect(nameIn(disk, "alice")).toBe(false);
  expect(readPersons(disk, "/home")).toEqual([]);
});

test("a slot says what was written, and every other byte string is damaged or free", () => {
  const slot = {
    state: "kept",
    person: "u".repeat(128),
    key: randomBytes(32),
    pseudonym: randomBytes(32).toString("base64url"),
    madeMs: T0,
    untilMs: T0 + DAY_MS,
  } as const;
  const bytes = encodeSlot(slot);
  expect(decodeSlot(bytes)).toEqual(slot);
  expect(decodeSlot(Buffer.alloc(SLOT_BYTES))).toBe("free");
  expect(decodeSlot(bytes.subarray(1))).toBe("damaged");
  for (const at of [0, 1, 9, 30, 60, 100, 215]) {
    const bent = Buffer.from(bytes);
    bent[at] = (bent[at] as number) ^ 1;
    expect(decodeSlot(bent)).toBe("damaged");
  }
});
