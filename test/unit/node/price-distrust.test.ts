import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { encodeLeaf } from "../../../audit/leaf.ts";
import type { AuditRecord } from "../../../audit/record.ts";
import { PriceDistrust } from "../../../node/price-distrust.ts";
import type { ControlToLoop } from "../../../node/thread-messages.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { type TwinStore, twinStore } from "../../../ports/twin-store.ts";
import {
  DistrustReplySchema,
  type NodeReply,
  NodeReplySchema,
  NodeRequestSchema,
  RefusedSchema,
} from "../../../proto/gen/altrace/v1/mesh_pb.ts";

const MODEL = "openai/gpt-5";
const RECORD = "ab".repeat(32);
const RID = "01998f3e-7c1a-7b2c-9d3e-5f60718293a4";

/** A node's view, its loops and a coordinator that answers as it is told to. */
function world(store: TwinStore = twinStore()) {
  const clock = twinClock();
  const told: ControlToLoop[] = [];
  const logged: unknown[][] = [];
  const records: AuditRecord[] = [];
  const asked: bigint[] = [];
  const eras: bigint[] = [];
  let answer: NodeReply["body"] | undefined;
  const distrust = new PriceDistrust({
    node: "n1",
    bootId: "b1",
    store,
    clock,
    random: twinRandom(1),
    loops: [{ no: 0, post: (message) => told.push(message), onMessage: () => undefined }],
    ask: async (_method, bytes) => {
      const { body } = fromBinary(NodeRequestSchema, bytes);
      if (body.case !== "distrust") throw new Error("not what was to be asked");
      expect(`${body.value.provider}/${body.value.model}`).toBe(MODEL);
      asked.push(body.value.milli);
      eras.push(body.value.era);
      if (answer === undefined) return undefined;
      const reply = toBinary(NodeReplySchema, create(NodeReplySchema, { body: answer }));
      return { bytes: reply, kid: "c1" };
    },
    append: (record) => records.push(record),
    log: new Proxy({} as never, {
      get:
        (_, name) =>
        (...rest: unknown[]) =>
          logged.push([name, ...rest]),
    }),
  });
  return {
    distrust,
    clock,
    store,
    told,
    logged,
    records,
    asked,
    eras,
    answers: (body: NodeReply["body"] | undefined) => {
      answer = body;
    },
    pass: async (ms: number) => {
      clock.advance(ms);
      distrust.tick();
      await settled();
    },
  };
}

const settled = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};
const taken: NodeReply["body"] = {
  case: "distrust",
  value: create(DistrustReplySchema, { milli: 2_000n }),
};
const bill = (distrustMilli: number) => ({ model: MODEL, distrustMilli, requestId: RID });
const said = (distrustMilli: number, era = 0) => {
  return { model: MODEL, distrustMilli, era, record: RECORD };
};
const raises = (told: readonly ControlToLoop[]) =>
  told.map((one) => (one.t === "distrust" ? one.distrustMilli : undefined));

test("P1: what is lower than what is known changes nothing, wherever it comes from", async () => {
  const one = world();
  one.distrust.said(said(3_000));
  one.distrust.billed(bill(2_000));
  one.distrust.said(said(1_500));
  await settled();
  expect(raises(one.told)).toEqual([3_000]);
  expect(one.asked).toEqual([]);
  one.distrust.billed(bill(4_000_000));
  expect(raises(one.told)).toEqual([3_000, 100_000]);
});

test("P2: a bill counts here before anybody has answered, and is told to the coordinator", async () => {
  const one = world();
  one.answers(taken);
  one.distrust.billed(bill(2_000));
  expect(raises(one.told)).toEqual([2_000]);
  await settled();
  expect(one.asked).toEqual([2_000n]);
});

test("P1: an operator's word is a new era: it may be lower, and what is of one before counts no more", async () => {
  const one = world();
  one.distrust.billed(bill(5_000));
  one.distrust.said(said(5_000));
  one.distrust.said(said(1_200, 1));
  one.distrust.said(said(9_000));
  await settled();
  expect(raises(one.told)).toEqual([5_000, 1_200]);
  expect(one.logged).toContainEqual(["distrustSet", MODEL, 1_200]);
  expect(one.records.at(-1)).toMatchObject({ k: "distrust", milli: 1_200, rec: RECORD });
  // Within the new era bills raise it again, and only that is asked for.
  one.distrust.billed(bill(1_100));
  one.distrust.billed(bill(1_300));
  await settled();
  expect(raises(one.told)).toEqual([5_000, 1_200, 1_300]);
  expect(one.told.at(-1)).toMatchObject({ era: 1 });
  expect(one.asked.at(-1)).toBe(1_300n);
  expect(one.eras.at(-1)).toBe(1n);
});

test("P1: what an earlier run owed to the mesh is settled by an operator's word, before or after the start", async () => {
  for (const isFirst of [true, false]) {
    const one = world();
    one.distrust.billed(bill(5_000));
    await settled();
    const again = world(one.store.crash());
    if (isFirst) again.distrust.said(said(1_200, 1));
    again.distrust.restore();
    if (!isFirst) again.distrust.said(said(1_200, 1));
    await again.pass(70_000);
    expect(raises(again.told).at(-1)).toBe(1_200);
    expect(again.store.list("distrust/")).toEqual([]);
    expect(again.asked).toEqual(isFirst ? [] : [5_000n]);
  }
});

test("P3: a raise of a new era is kept although the disk still has a larger one of the era before", async () => {
  let fails = false;
  const one = world(twinStore({ commitFate: () => (fails ? "fails_not_persisted" : "good") }));
  one.distrust.billed(bill(5_000));
  await settled();
  fails = true;
  one.distrust.said(said(1_200, 1));
  await settled();
  fails = false;
  one.distrust.billed(bill(1_300));
  await settled();
  const [saved] = one.store.list("distrust/").map(([, value]) => Buffer.from(value).toString());
  expect(saved).toBe("1300 1");
});

test("P3: the coordinator is asked again, ever more rarely, until the mesh's record says as much", async () => {
  const one = world();
  one.distrust.billed(bill(2_000));
  await settled();
  for (let second = 0; second < 30; second++) await one.pass(1_000);
  // At 0, 2, 6, 14 and 30 s: the first wait doubles each time.
  expect(one.asked).toHaveLength(5);
  one.answers({ case: "refused", value: create(RefusedSchema, { reason: "distrust_limited" }) });
  await one.pass(60_000);
  expect(one.logged.at(-1)).toEqual(["distrustRefused", MODEL, "distrust_limited"]);
  one.distrust.said(said(2_000));
  const before = one.asked.length;
  for (let minute = 0; minute < 5; minute++) await one.pass(60_000);
  expect(one.asked).toHaveLength(before);
  expect(one.store.list("distrust/")).toEqual([]);
});

test("P3: a restart forgets nothing that the mesh has not taken over", async () => {
  const one = world();
  one.distrust.billed(bill(2_000));
  await settled();
  const again = world(one.store.crash());
  again.distrust.restore();
  await settled();
  expect(raises(again.told)).toEqual([2_000]);
  expect(again.asked).toEqual([2_000n]);
  // The mesh says less: this node holds by its own bill, and goes on asking.
  again.distrust.said(said(1_900));
  await again.pass(2_000);
  expect(raises(again.told)).toEqual([2_000]);
  expect(again.asked).toEqual([2_000n, 2_000n]);
});

test("P3: a disk that fails is tried again, and the raise counts meanwhile", async () => {
  let fails = true;
  const one = world(twinStore({ commitFate: () => (fails ? "fails_not_persisted" : "good") }));
  one.distrust.billed(bill(2_000));
  await settled();
  expect(raises(one.told)).toEqual([2_000]);
  expect(one.store.list("distrust/")).toEqual([]);
  fails = false;
  await one.pass(1_000);
  expect(one.store.list("distrust/")).toHaveLength(1);
});

test("P4: a raise is logged and recorded with the bill or the record behind it", async () => {
  const one = world();
  one.distrust.billed(bill(2_000));
  one.distrust.said(said(2_500));
  expect(one.logged.slice(0, 2)).toEqual([
    ["distrust", MODEL, 2_000, "bill"],
    ["distrust", MODEL, 2_500, "mesh"],
  ]);
  expect(one.records).toMatchObject([
    { k: "distrust", model: MODEL, milli: 2_000, by: "bill", rid: RID },
    { k: "distrust", model: MODEL, milli: 2_500, by: "mesh", rec: RECORD },
  ]);
  for (const record of one.records) expect(() => encodeLeaf(record)).not.toThrow();
});
