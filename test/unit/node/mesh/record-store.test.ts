import { setImmediate as nextTurn } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import type { MeshRecord } from "../../../../mesh/record.ts";
import { COMMIT_RECORDS_MAX, RecordStore } from "../../../../node/mesh/record-store.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { type TwinStore, type TwinStoreOptions, twinStore } from "../../../../ports/twin-store.ts";
import { KillSchema } from "../../../../proto/gen/altrace/v1/record_pb.ts";
import { CONTROL_STREAM } from "../../../../proto/subjects.ts";
import { kill, MESH, revive, settle, signers, World } from "./mesh-world.ts";

function storeOn(store: TwinStore) {
  const clock = twinClock();
  const durable: MeshRecord[] = [];
  const faults: string[] = [];
  const records = new RecordStore({
    store,
    mesh: MESH,
    clock,
    nextTurn,
    onDurable: (record) => durable.push(record),
    onFault: (detail) => faults.push(detail),
  });
  return { records, durable, faults, clock, store };
}

const world = new World();
const make = (scope: string) => world.make(scope, kill(), signers.coordinator);

async function loaded(store: TwinStore) {
  const { records } = storeOn(store);
  const found: MeshRecord[] = [];
  const unreadable: string[] = [];
  await records.load(
    (record) => found.push(record),
    (key) => unreadable.push(key),
  );
  return { records, found, unreadable };
}

test("what was written is handed over at the next start, byte for byte", async () => {
  const { records, store, durable } = storeOn(twinStore());
  const all = Array.from({ length: 600 }, (_, i) => make(`team/t${i}`));
  for (const record of all) records.add(record);
  records.flush();
  await settle(60);
  expect(durable.length).toBe(600);
  const again = await loaded(store.crash());
  expect(again.found.length).toBe(600);
  const bytes = new Map(
    all.map((record) => [record.scope, Buffer.from(record.bytes).toString("hex")]),
  );
  for (const { scope, bytes: found } of again.found) {
    expect(Buffer.from(found).toString("hex")).toBe(bytes.get(scope));
  }
  expect(again.records.durableHash()).toEqual(records.durableHash());
});

test("one commit takes no more records than its bound", async () => {
  const sizes: number[] = [];
  const commitFate: TwinStoreOptions["commitFate"] = (writes) => {
    sizes.push(writes.filter(({ key }) => key.startsWith("rec/")).length);
    return "good";
  };
  const { records } = storeOn(twinStore({ commitFate }));
  for (let i = 0; i < 3 * COMMIT_RECORDS_MAX + 1; i++) records.add(make(`team/t${i}`));
  records.flush();
  await settle(20);
  expect(Math.max(...sizes)).toBe(COMMIT_RECORDS_MAX);
  expect(sizes.reduce((a, b) => a + b)).toBe(3 * COMMIT_RECORDS_MAX + 1);
});

test("S2: a stream's mark never reaches the disk before the records it covers", async () => {
  const disk = twinClock();
  const store = twinStore({ delay: { clock: disk, commitMs: () => 10 } });
  const { records } = storeOn(store);
  const total = 4 * COMMIT_RECORDS_MAX;
  for (let seq = 1; seq <= total; seq++) {
    records.add(make(`team/t${seq}`));
    records.setMark(CONTROL_STREAM, seq);
    if (seq === total / 2) records.flush();
  }
  for (let i = 0; i < 8; i++) {
    const onDisk = await loaded(await copy(store));
    expect(onDisk.records.mark(CONTROL_STREAM)).toBeLessThanOrEqual(onDisk.found.length);
    disk.advance(10);
    await settle(3);
  }
  const end = await loaded(await copy(store));
  expect(end.found.length).toBe(total);
  expect(end.records.mark(CONTROL_STREAM)).toBe(total);
});

test("S3: after a fault the newest record of a scope is written, not the one that failed", async () => {
  let fails = true;
  const disk = twinClock();
  const { records, durable, faults, clock, store } = storeOn(
    twinStore({
      commitFate: () => (fails ? "fails_not_persisted" : "good"),
      delay: { clock: disk, commitMs: () => 10 },
    }),
  );
  const first = make("global");
  const local = new World();
  local.state.merge(first);
  const second = local.make("global", revive);
  records.add(first);
  records.flush();
  await settle(3);
  // The first is on its way when the second comes, and fails only then.
  records.add(second);
  disk.advance(10);
  await settle(3);
  expect(records.isHealthy).toBe(false);
  expect(durable).toEqual([]);
  fails = false;
  clock.advance(1_000);
  await settle(3);
  disk.advance(10);
  await settle(5);
  expect(faults.length).toBe(1);
  expect(durable).toEqual([second]);
  expect(store.durable.get("rec/global")).toEqual(second.bytes);
  expect(records.isDurable(second)).toBe(true);
  expect(records.isDurable(first)).toBe(false);
});

test("what cannot be read is told, and the rest is handed over", async () => {
  const { records, store } = storeOn(twinStore());
  records.add(make("team/red"));
  records.add(make("team/blue"));
  records.flush();
  await settle(5);
  const red = store.durable.get("rec/team/red") as Uint8Array;
  await store.commit([
    { key: "rec/team/blue", value: red },
    { key: "rec/team/green", value: new Uint8Array([1, 2, 3]) },
  ]);
  const again = await loaded(store.crash());
  expect(again.unreadable).toEqual(["rec/team/blue", "rec/team/green"]);
  expect(again.found.map(({ scope }) => scope)).toEqual(["team/red"]);
});

test("closing writes what is left, and does not hang on a disk that fails", async () => {
  const disk = twinClock();
  const slow = twinStore({ delay: { clock: disk, commitMs: () => 10 } });
  const { records } = storeOn(slow);
  records.add(make("global"));
  records.setMark(CONTROL_STREAM, 9);
  const closed = records.close();
  for (let i = 0; i < 5; i++) {
    disk.advance(10);
    await settle(2);
  }
  await closed;
  expect((await loaded(await copy(slow))).records.mark(CONTROL_STREAM)).toBe(9);

  const broken = storeOn(twinStore({ commitFate: () => "fails_not_persisted" }));
  broken.records.add(make("global"));
  broken.records.flush();
  await settle(3);
  await broken.records.close();
});

async function copy(store: TwinStore): Promise<TwinStore> {
  const writes = [...store.durable].map(([key, value]) => ({ key, value }));
  const other = twinStore();
  if (writes.length > 0) await other.commit(writes);
  return other;
}

const HOUR_MS = 3_600_000;
const revoked = (no: number, endHours: number): MeshRecord => {
  const value = create(KillSchema, { contractEndMs: BigInt(endHours * HOUR_MS) });
  const op = { case: "kill" as const, value };
  return world.make(`contract/${String(no).padStart(43, "c")}`, op, signers.coordinator);
};

test("S4: what the state forgets leaves the disk, and not before that because of which it is forgotten", async () => {
  const seen: string[][] = [];
  const store = twinStore({
    commitFate: (writes) => {
      seen.push(writes.map(({ key, value }) => `${value ? "+" : "-"}${key.slice(0, 12)}`));
      return "good";
    },
  });
  const { records } = storeOn(store);
  const many = Array.from({ length: COMMIT_RECORDS_MAX + 6 }, (_, i) => revoked(i, 1));
  for (const record of many) records.add(record);
  records.flush();
  await settle(20);
  expect(store.list("rec/").length).toBe(many.length);
  seen.length = 0;
  const last = revoked(9_999, 60);
  records.add(last);
  records.flush();
  await settle(20);
  expect(seen[0]?.some((write) => write.startsWith("-"))).toBe(false);
  expect(store.list("rec/").map(([key]) => key)).toEqual([`rec/${last.scope}`]);
  const again = await loaded(store.crash());
  expect(again.found.map(({ scope }) => scope)).toEqual([last.scope]);
  expect(again.records.durableHash()).toEqual(records.durableHash());
});

test("S4: what a crash left on the disk is gone after the next commit", async () => {
  const store = twinStore();
  const [early, late] = [revoked(1, 1), revoked(2, 60)];
  await store.commit(
    [early, late].map(({ scope, bytes }) => ({ key: `rec/${scope}`, value: bytes })),
  );
  const { records } = await loaded(store);
  const hash = Buffer.from(records.durableHash());
  records.flush();
  await settle(20);
  expect(store.list("rec/").map(([key]) => key)).toEqual([`rec/${late.scope}`]);
  expect(Buffer.from(records.durableHash())).toEqual(hash);
});
