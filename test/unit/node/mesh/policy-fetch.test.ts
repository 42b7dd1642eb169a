import { setImmediate } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { createBusHub } from "../../../../adapters/in-process-bus.ts";
import { type PackedBundle, packPolicy } from "../../../../mesh/policy-parts.ts";
import type { MeshRecord } from "../../../../mesh/record.ts";
import { PolicyFetch } from "../../../../node/mesh/policy-fetch.ts";
import { BusFault, type BusMessage } from "../../../../ports/bus.ts";
import { twinBus } from "../../../../ports/twin-bus.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { type TwinStore, twinStore } from "../../../../ports/twin-store.ts";
import { partSubject } from "../../../../proto/subjects.ts";
import { comesTrue } from "../../../support/comes-true.ts";

const packedOf = (name: string) =>
  packPolicy(Buffer.from(`${Array.from({ length: 99_000 }, (_, no) => no * 7919).join()}${name}`));
type Packed = ReturnType<typeof packedOf>;

const recordOf = (v: number, { policy }: Packed) =>
  ({ v, op: { case: "policy", value: policy } }) as unknown as MeshRecord;
const keysOf = ({ policy }: Packed) =>
  policy.parts.map((hash) => Buffer.from(hash).toString("hex"));

function world() {
  const clock = twinClock();
  const hub = createBusHub(undefined, clock);
  const outside = hub.connect();
  const node = (store: TwinStore = twinStore()) => {
    const whole: [version: number, bundle: Uint8Array | PackedBundle][] = [];
    const trouble: string[] = [];
    const bus = twinBus(hub.connect());
    const asked = vi.spyOn(bus, "last");
    const fetch = new PolicyFetch({
      ...{ bus, store, clock },
      nextTurn: () => setImmediate(),
      onWhole: (version, _sha256, bundle) => whole.push([version, bundle]),
      onTrouble: (detail) => trouble.push(detail),
    });
    const versions = () => whole.map(([version]) => version);
    return { fetch, bus, store, whole, versions, trouble, asked };
  };
  const publish = async (packed: Packed, count = packed.parts.length) => {
    for (const [no, hash] of keysOf(packed).slice(0, count).entries()) {
      const part = packed.parts[no] as Uint8Array;
      await outside.append(partSubject(hash), part, { msgId: hash, expectSeq: 0 });
    }
  };
  const until = (isSo: () => boolean) =>
    comesTrue(() => {
      clock.advance(5_000);
      expect(isSo()).toBe(true);
    });
  return { node, outside, publish, until };
}

test("a policy in its record is whole at once", () => {
  const { fetch, versions } = world().node();
  fetch.take(recordOf(1, packPolicy(Buffer.from("[]"))));
  expect(versions()).toEqual([1]);
});

test("parts come from the stream, as soon as all of them are there", async () => {
  const { node, publish, until } = world();
  const { fetch, versions, trouble, whole } = node();
  const packed = packedOf("a");
  await publish(packed, packed.parts.length - 1);
  fetch.take(recordOf(7, packed));
  await until(() => trouble.length > 0);
  expect(versions()).toEqual([]);
  await publish(packed);
  await until(() => versions().length > 0);
  expect(versions()).toEqual([7]);
  const bundle = whole[0]?.[1] as PackedBundle;
  expect(bundle.size).toBe(Number(packed.policy.size));
  expect(Buffer.compare(Buffer.concat(bundle.parts), Buffer.concat(packed.parts))).toBe(0);
  expect(trouble).toHaveLength(1);
});

/** A node that has fetched a policy, and others on its disk. */
async function fetchedOnce() {
  const { node, publish, until } = world();
  const packed = packedOf("a");
  await publish(packed);
  const first = node();
  first.fetch.take(recordOf(1, packed));
  await until(() => first.versions().length > 0);
  return { packed, first, node, until };
}

test("what was fetched is on the disk: the next start asks nobody", async () => {
  const { packed, first, node, until } = await fetchedOnce();
  const second = node(first.store);
  second.fetch.take(recordOf(1, packed));
  await until(() => second.versions().length > 0);
  expect(second.asked).not.toHaveBeenCalled();
});

test("a part that its disk has changed is asked for again, and kept as it was", async () => {
  const { packed, first, node, until } = await fetchedOnce();
  const key = `part/${keysOf(packed)[0]}`;
  await first.store.commit([{ key, value: Buffer.from("rotten") }]);
  const second = node(first.store);
  second.fetch.take(recordOf(1, packed));
  await until(() => second.versions().length > 0);
  expect(second.asked).toHaveBeenCalledTimes(1);
  expect(Buffer.from(second.store.get(key) ?? "").equals(packed.parts[0] as Uint8Array)).toBe(true);
});

test.each<[string, (part: BusMessage) => Promise<BusMessage | undefined>]>([
  ["has it not yet", async () => undefined],
  ["has other bytes", async (part) => ({ ...part, bytes: Buffer.from("before") })],
  ["may not be asked", () => Promise.reject(new BusFault("unknown", "no permission"))],
])("any server is asked for a part, and the leader where that one %s", async (_what, copyOf) => {
  const { node, outside, publish, until } = world();
  const packed = packedOf("a");
  await publish(packed);
  for (const lags of [false, true]) {
    const { fetch, versions, asked, trouble } = node();
    asked.mockImplementation(async (stream, subject, from) => {
      const found = await outside.last(stream, subject);
      return lags && found && from === "any" ? copyOf(found) : found;
    });
    fetch.take(recordOf(1, packed));
    await until(() => versions().length > 0);
    const each = lags ? ["any", undefined] : ["any"];
    expect(asked.mock.calls.map(([, , from]) => from)).toEqual(packed.parts.flatMap(() => each));
    expect(trouble).toEqual([]);
  }
});

test("bytes that are not of their hash are no part, whoever put them there", async () => {
  const { node, publish, outside, until } = world();
  const { fetch, versions, trouble, store } = node();
  const packed = packedOf("a");
  const [hash = ""] = keysOf(packed);
  await outside.append(partSubject(hash), Buffer.from("forged"), { msgId: "f", expectSeq: 0 });
  await publish(packed).catch(() => undefined);
  fetch.take(recordOf(1, packed));
  await until(() => trouble.length > 0);
  expect(versions()).toEqual([]);
  expect(store.list(`part/${hash}`)).toEqual([]);
});

test("one that a newer policy has overtaken is given up, and its parts go from the disk", async () => {
  const { node, publish, until } = world();
  const { fetch, versions, trouble, store } = node();
  const [old, next] = [packedOf("old"), packedOf("next")];
  await publish(old, 1);
  fetch.take(recordOf(1, old));
  await until(() => trouble.length > 0);
  fetch.take(recordOf(2, next));
  await publish(next);
  await until(() => versions().length > 0);
  await publish(old).catch(() => undefined);
  expect(versions()).toEqual([2]);
  await until(() => store.list("part/").length === next.parts.length);
  expect(
    store
      .list("part/")
      .map(([key]) => key.slice(5))
      .sort(),
  ).toEqual(keysOf(next).sort());
});

test("a disk that takes nothing keeps no policy from coming into force", async () => {
  const { node, publish, until } = world();
  const packed = packedOf("a");
  await publish(packed);
  const { fetch, versions, trouble } = node(twinStore({ commitFate: () => "fails_not_persisted" }));
  fetch.take(recordOf(1, packed));
  await until(() => versions().length > 0);
  expect(trouble).toHaveLength(packed.parts.length);
});
