import { fromBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { createBusHub } from "../../../adapters/in-process-bus.ts";
import { CommandRefused } from "../../../coordinator/command-refused.ts";
import { PolicyInHand } from "../../../coordinator/policy-in-hand.ts";
import { policyInSlices } from "../../../coordinator/policy-of-bundle.ts";
import { PolicyParts } from "../../../coordinator/policy-parts.ts";
import { PACKED_BYTES_MAX, packPolicy, partHashes } from "../../../mesh/policy-parts.ts";
import type { MeshRecord } from "../../../mesh/record.ts";
import { twinBus } from "../../../ports/twin-bus.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinStore } from "../../../ports/twin-store.ts";
import { type Policy, SignedRecordSchema } from "../../../proto/gen/altrace/v1/record_pb.ts";
import { PART_STREAM, partSubject } from "../../../proto/subjects.ts";
import { comesTrue } from "../../support/comes-true.ts";
import { CoordinatorWorld } from "./coordinator-world.ts";

/** Bundles of a megabyte and a half that begin alike, of a few members each, which are read in no time. */
const FILLER = Array.from({ length: 12 }, (_, row) =>
  Array.from({ length: 14_000 }, (_row, no) => (row + 1) * (no + 1) * 7919).join(" "),
);
const bundleOf = (name: string) => Buffer.from(JSON.stringify([...FILLER, name]));

const recordOf = (v: number, value: Policy) =>
  ({ v, hashHex: `h${v}`, op: { case: "policy", value } }) as unknown as MeshRecord;

/** Coordinators of one mesh, as far as they have a policy. */
function world() {
  const clock = twinClock();
  const hub = createBusHub(undefined, clock);
  const coordinator = (current?: MeshRecord, store = twinStore()) => {
    let now = current;
    let hear: (record: MeshRecord) => void = () => undefined;
    const bus = twinBus(hub.connect());
    const parts = new PolicyParts({ store, bus });
    const told: string[] = [];
    const policy = new PolicyInHand({
      ...{ parts, bus, clock },
      replica: {
        state: { get: () => now },
        onRecord: (fn: typeof hear) => {
          hear = (record) => fn(record);
        },
      } as never,
      readAhead: (bundle) => policyInSlices(bundle, clock),
      tell: (event) => void told.push(event),
    });
    const take = (record: MeshRecord) => {
      now = record;
      hear(record);
    };
    return { bus, parts, policy, store, told, take };
  };
  const until = async (isSo: () => boolean) => {
    await comesTrue(() => {
      clock.advance(2_000);
      expect(isSo()).toBe(true);
    });
  };
  return { hub, coordinator, until };
}

test("a policy in its record is in hand in the turn in which the record comes", () => {
  const { policy, take } = world().coordinator();
  const { policy: small } = packPolicy(Buffer.from("[1]"));
  const seen: (number | undefined)[] = [];
  policy.onChange(({ v }) => seen.push(v));
  take(recordOf(1, small));
  expect(seen).toEqual([1]);
  expect(policy.now).toMatchObject({ v: 1, hashHex: "h1", bundle: Buffer.from("[1]") });
});

test("another coordinator has its parts from the stream, and lends by the one before until then", async () => {
  const { coordinator, until } = world();
  const [one, other] = [coordinator(), coordinator()];
  const first = packPolicy(Buffer.from("[1]"));
  const bundle = bundleOf("two");
  const second = packPolicy(bundle);
  for (const part of second.parts) one.parts.offer(part);
  other.take(recordOf(1, first.policy));
  other.take(recordOf(2, second.policy));
  await until(() => other.told.includes("policy_part_missing"));
  expect(other.policy.now?.v).toBe(1);
  await one.parts.publish(second.policy, { onlyMissing: false });
  await until(() => other.policy.now?.v === 2);
  expect(Buffer.compare(other.policy.now?.bundle as Uint8Array, bundle)).toBe(0);
});

test("after a start it is read from the disk, with nobody to ask", async () => {
  const { coordinator, until } = world();
  const store = twinStore();
  const { policy, parts } = packPolicy(bundleOf("kept"));
  const before = coordinator(undefined, store);
  for (const part of parts) before.parts.offer(part);
  await store.commit(before.parts.writesOf(policy));
  const after = coordinator(recordOf(1, policy), store);
  after.bus.cut("in");
  after.bus.cut("out");
  await until(() => after.policy.now?.v === 1);
});

test("parts of older policies leave the disk, and those that both have stay", async () => {
  const { coordinator, until } = world();
  const one = coordinator();
  const [old, next] = [packPolicy(bundleOf("old")), packPolicy(bundleOf("next"))];
  for (const [v, { policy, parts }] of [old, next].entries()) {
    for (const part of parts) one.parts.offer(part);
    await one.store.commit(one.parts.writesOf(policy));
    one.take(recordOf(v + 1, policy));
    await until(() => one.policy.now?.v === v + 1);
  }
  const hexes = next.policy.parts.map((hash) => `part/${Buffer.from(hash).toString("hex")}`);
  await until(() => one.store.list("part/").length === hexes.length);
  expect(
    one.store
      .list("part/")
      .map(([key]) => key)
      .sort(),
  ).toEqual(hexes.sort());
});

test("a stream that was lost gets the parts again from whoever has them", async () => {
  const { coordinator, until, hub } = world();
  const store = twinStore();
  const { policy, parts } = packPolicy(bundleOf("lost"));
  const before = coordinator(undefined, store);
  for (const part of parts) before.parts.offer(part);
  await store.commit(before.parts.writesOf(policy));
  const outside = hub.connect();
  expect(await outside.read(PART_STREAM, 0, 100)).toEqual([]);
  coordinator(recordOf(1, policy), store);
  let found = 0;
  await until(() => {
    void outside.read(PART_STREAM, 0, 100).then((all) => {
      found = all.length;
    });
    return found === parts.length;
  });
});

test("a part that the disk has changed is as good as none, and has its place in the stream no longer", async () => {
  const { coordinator, until, hub } = world();
  const store = twinStore();
  const { policy, parts } = packPolicy(bundleOf("rotten"));
  const whole = coordinator();
  for (const part of parts) whole.parts.offer(part);
  const before = coordinator(undefined, store);
  for (const part of parts) before.parts.offer(part);
  await store.commit(before.parts.writesOf(policy));
  const hash = partHashes(policy)[0] as string;
  const key = `part/${hash}`;
  await store.commit([{ key, value: Buffer.from("rotten") }]);
  const bad = { msgId: "bad", expectSeq: 0 };
  await hub.connect().append(partSubject(hash), Buffer.from("rotten"), bad);
  const after = coordinator(recordOf(1, policy), store);
  await until(() => after.told.includes("policy_part_missing"));
  expect(after.told).not.toContain("policy_unusable");
  await whole.parts.publish(policy, { onlyMissing: true });
  await until(() => after.policy.now?.v === 1);
  expect(Buffer.from(store.get(key) ?? "").equals(parts[0] as Uint8Array)).toBe(true);
});

test("what is handed over is bounded, in size and in number", async () => {
  const { parts } = world().coordinator();
  expect(() => parts.offer(new Uint8Array(0))).toThrow(CommandRefused);
  expect(() => parts.offer(new Uint8Array(PACKED_BYTES_MAX + 1))).toThrow(CommandRefused);
  const packed = packPolicy(bundleOf("first"));
  for (const part of packed.parts) parts.offer(part);
  expect(await parts.here(packed.policy)).toBeDefined();
  for (let no = 0; no < 128; no += 1) parts.offer(Buffer.from(`part ${no}`));
  expect(await parts.here(packed.policy)).toBeUndefined();
});

test("a record is carried once all of its parts were handed over, and they are in the stream before it", async () => {
  const mesh = new CoordinatorWorld();
  const { service, policy: inHand } = await mesh.founded();
  // What these tests take for a policy is a list of accounts.
  const limits = Array.from({ length: 9_000 }, (_, no) => ({
    account: `team/t${no}`,
    limits: [{ unit: "usd_micros", window: "day", limit: no * 7919 }],
  }));
  const { policy, parts } = packPolicy(Buffer.from(JSON.stringify(limits)));
  expect(parts.length).toBeGreaterThan(2);
  const signed = mesh.sign("policy", { case: "policy", value: policy });
  const record = fromBinary(SignedRecordSchema, signed);
  for (const part of parts.slice(1)) await service.putPolicyPart({ part });
  await expect(service.applyPolicy({ record })).rejects.toMatchObject({
    reason: "policy_part_missing",
  });
  await service.putPolicyPart({ part: parts[0] as Uint8Array });
  const stored = () => mesh.outside.read(PART_STREAM, 0, 100);
  expect(await stored()).toEqual([]);
  const { command } = await service.applyPolicy({ record });
  expect(command).toMatchObject({ accepted: true });
  expect(await stored()).toHaveLength(parts.length);
  await mesh.until(() => inHand.now?.v === 1);
  expect(mesh.parts.ledger.accountNames()).toContain("team/t8999");
});
