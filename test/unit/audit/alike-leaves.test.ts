import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AlikeLeaves } from "../../../audit/alike-leaves.ts";
import { encodeLeaf, LEAF_BYTES_MAX } from "../../../audit/leaf.ts";
import type { AuditRecord, DecisionRecord, SettleRecord } from "../../../audit/record.ts";
import { scanLeaf } from "../../../audit/scan-leaf.ts";

/** With all that such a record may say: a member that is added to them has to be added here. */
const EVERY: Required<DecisionRecord> = {
  v: 1,
  k: "decision",
  t: 1_790_000_000_000,
  node: "node-1",
  rid: "01998f3e-7c1a-7b2c-9d3e-5f60718293a4",
  ag: "spiffe://acme/agent/research/worker-1",
  kid: "k1234567",
  sp: "p0001",
  c: { id: "c2", root: "c1", d: 1 },
  ph: "request",
  dec: "would_refuse",
  st: 9,
  sv: "PPPPSPPPDPSPPP",
  rc: "model_not_granted",
  act: {
    door: "gateway",
    host: "api.example.com",
    orig: "192.0.2.1:443",
    route: "openai.chat",
    model: "gpt-5-mini",
    tools: ["search"],
    out: ["shell"],
    stream: false,
  },
  rule: "r1",
  pol: "sha256:aa",
  tb: 3,
  hold: { usd_u: 5_000, tok: 1_000, calls: 1, over_u: 500, acct: "contract/c2", lease: "table" },
  clamped: 256,
  cid: "a",
  n: 1,
  lat_us: 120,
  in: { n: 200, scanned: 200, rules: 2 },
};

const { cid, ...DECISION } = EVERY;

const SETTLE: SettleRecord = {
  v: 1,
  k: "settle",
  t: 1_790_000_000_100,
  node: "node-1",
  rid: "01998f3e-7c1a-7b2c-9d3e-5f60718293a4",
  ag: "spiffe://acme/agent/research/worker-1",
  kid: "k1234567",
  ph: "response",
  rc: "ok",
  settled: { usd_u: 40, tok: 21, calls: 1, over_u: 0 },
  lat_us: 90_000,
  in: { n: 40, scanned: 40, rules: 2 },
};

/** Another value of each member that is the same in leaf after leaf. */
const OTHER: Readonly<Record<string, unknown>> = {
  node: "node-2",
  ag: "spiffe://acme/agent/research/worker-2",
  kid: "k7654321",
  sp: "p0002",
  c: { id: "c3", root: "c1", d: 1 },
  ph: "response",
  dec: "deny",
  st: 4,
  sv: "PPPPSPPPDPSPPS",
  rc: "model_unknown",
  act: { ...DECISION.act, model: "gpt-5" },
  rule: "r2",
  pol: "sha256:bb",
  tb: 4,
  hold: { ...DECISION.hold, acct: "contract/c3" },
  clamped: 255,
  n: 2,
  in: { ...DECISION.in, rules: 3 },
};

/** Puts a record that is like two before it; undefined where it is told to be like none. */
function put(record: AuditRecord, before: readonly AuditRecord[], into = room()) {
  const alike = new AlikeLeaves();
  for (const one of before) learn(alike, one);
  const done = alike.put(record, into, 8);
  return done && { ...done, leaf: into.subarray(8, 8 + done.bytes) };
}

function learn(alike: AlikeLeaves, record: AuditRecord): void {
  const leaf = encodeLeaf(record);
  alike.learn(record, leaf.toString(), scanLeaf(leaf));
}

function room(): Buffer {
  return Buffer.alloc(LEAF_BYTES_MAX + 8, 0xee);
}

describe("T1: the same bytes", () => {
  const count = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constantFrom(0, 9, 10, 999_999_999, 1e9));
  const id = fc.uuid({ version: 7 });

  test.each([["decision", DECISION] as const, ["settle", SETTLE] as const])(
    "%s, whatever its numbers and its request",
    (_kind, like) => {
      const alike = new AlikeLeaves();
      const numbers = fc.array(count, { minLength: 7, maxLength: 7 });
      learn(alike, like);
      learn(alike, like);
      const into = room();
      fc.assert(
        fc.property(numbers, id, ([t, n, calls, over, tok, usd, took], rid) => {
          const amounts = { calls, over_u: over, tok, usd_u: usd };
          const part =
            like.k === "decision"
              ? { hold: { ...like.hold, ...amounts } }
              : { settled: { ...like.settled, ...amounts } };
          const seen = { ...like.in, n, scanned: n };
          const record = { ...like, ...part, t, rid, lat_us: took, in: seen } as AuditRecord;
          into.fill(0xee);
          const done = alike.put(record, into, 8);
          const leaf = into.subarray(8, 8 + (done?.bytes ?? 0));
          expect(leaf.toString()).toBe(encodeLeaf(record).toString());
          expect(done?.scan).toEqual(scanLeaf(leaf));
          expect(into[8 + leaf.length]).toBe(0xee);
        }),
      );
    },
  );

  test("of each of several that one holder's are like, in any order", () => {
    const alike = new AlikeLeaves();
    const models = ["a", "b", "c"].map((model) => ({
      ...DECISION,
      act: { ...DECISION.act, model },
    }));
    for (const one of models) for (let no = 0; no < 2; no++) learn(alike, one);
    for (const one of [...models].reverse()) {
      const into = room();
      const bytes = alike.put(one, into, 0)?.bytes ?? 0;
      expect(into.subarray(0, bytes)).toEqual(encodeLeaf(one));
    }
  });
});

describe("T2: what is like none is left to the schema", () => {
  const before = [DECISION, DECISION];

  test("one that was seen once", () => {
    expect(put(DECISION, [DECISION])).toBeUndefined();
    expect(put(DECISION, before)?.leaf).toEqual(encodeLeaf(DECISION));
  });

  test.each(Object.keys(OTHER))("another %s", (member) => {
    const other = { ...DECISION, [member]: OTHER[member] } as AuditRecord;
    expect(put(other, before)).toBeUndefined();
    const { [member as "c"]: _, ...without } = DECISION;
    expect(put(without as AuditRecord, before)).toBeUndefined();
    expect(put({ ...DECISION, [member]: undefined } as unknown as AuditRecord, before)).toBe(
      undefined,
    );
  });

  test.each(Object.keys(DECISION.act))("another %s of what it asked for", (member) => {
    const bent = {
      ...DECISION.act,
      [member]: member === "tools" || member === "out" ? ["x"] : "x",
    };
    expect(put({ ...DECISION, act: bent } as AuditRecord, before)).toBeUndefined();
    const { [member as "model"]: _, ...without } = DECISION.act;
    expect(put({ ...DECISION, act: without } as AuditRecord, before)).toBeUndefined();
  });

  test("every member is either a slot or one that is compared", () => {
    const slots = ["v", "k", "t", "rid", "lat_us", "cid"];
    expect([...Object.keys(OTHER), ...slots].sort()).toEqual(Object.keys(EVERY).sort());
  });

  test.each([
    ["a stranger", { x: 1 }],
    ["the client's own name for it", { cid }],
    ["a place", { ep: 1, seq: 2 }],
    ["a stranger among what was held", { hold: { ...DECISION.hold, x: 1 } }],
    ["a stranger in what was scanned", { in: { ...DECISION.in, x: 1 } }],
    ["a stranger in what it asked for", { act: { ...DECISION.act, x: 1 } }],
    ["a stranger in its contract", { c: { ...DECISION.c, x: 1 } }],
    ["another depth", { c: { ...DECISION.c, d: 2 } }],
    ["another lease", { hold: { ...DECISION.hold, lease: "x" } }],
    ["a tool more", { act: { ...DECISION.act, tools: ["search", "shell"] } }],
    ["a part that was not scanned", { in: { n: 200, scanned: 100, rules: 2 } }],
    ["why something was not scanned", { in: { ...DECISION.in, skipped: "tunnel" } }],
    ["a fraction", { lat_us: 1.5 }],
    ["less than nothing", { hold: { ...DECISION.hold, tok: -1 } }],
    ["more than a number holds", { t: 2 ** 53 }],
    ["text for a number", { t: "1" }],
    ["no amount", { hold: { ...DECISION.hold, usd_u: undefined } }],
    ["an id that is none", { rid: "01998f3e-7c1a-4b2c-9d3e-5f60718293a4" }],
    ["an id with a line behind it", { rid: `${DECISION.rid}\n` }],
  ])("%s", (_name, change) => {
    expect(put({ ...DECISION, ...change } as unknown as AuditRecord, before)).toBeUndefined();
  });

  test.each([
    ["repeats its hold", { hold: DECISION.hold }],
    ["tells of what was carried", { bytes: { up: 1, down: 2 } }],
  ])("a settlement that %s", (_name, change) => {
    const record = { ...SETTLE, ...change } as AuditRecord;
    expect(put(record, [record, record])).toBeUndefined();
  });

  test("what a caller does to its record afterwards changes nothing", () => {
    const own = { ...DECISION, act: { ...DECISION.act } };
    const alike = new AlikeLeaves();
    learn(alike, own);
    learn(alike, own);
    Object.assign(own.act, { model: "gpt-6" });
    expect(alike.put(own, room(), 0)).toBeUndefined();
  });
});
