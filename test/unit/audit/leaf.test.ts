import { describe, expect, test } from "vitest";
import {
  decodeRecord,
  encodeLeaf,
  isSealed,
  LEAF_BYTES_MAX,
  putLeaf,
  RecordError,
  sealLeaf,
} from "../../../audit/leaf.ts";
import {
  type AuditRecord,
  CLIENT_ID_CHARS_MAX,
  type DecisionRecord,
  decisionsIn,
  QUOTED_CHECKPOINT_CHARS_MAX,
  RECORD_NAME_CHARS_MAX,
  RECORD_TOOLS_MAX,
  recordable,
} from "../../../audit/record.ts";
import { scanLeaf } from "../../../audit/scan-leaf.ts";
import { canonicalJson } from "../../../proto/jcs.ts";
import { ALLOW, DENY, RECORDS } from "./sample-records.ts";

const byKind = RECORDS.map((record, i) => [`${record.k} ${i}`, record] as const);

function decoded(text: string | Uint8Array) {
  return decodeRecord(typeof text === "string" ? Buffer.from(text) : text);
}

function flawOf(text: string | Uint8Array): string {
  const result = decoded(text);
  return result.ok ? "none" : result.flaw;
}

/** The record with one change that the types would not allow. */
function bent(record: AuditRecord, change: Record<string, unknown>): AuditRecord {
  return { ...record, ...change } as unknown as AuditRecord;
}

test("the samples hold every kind there is", () => {
  expect([...new Set(RECORDS.map((record) => record.k))].sort()).toEqual([
    "boot",
    "call",
    "clock",
    "close",
    "command",
    "decision",
    "distrust",
    "flood",
    "gap",
    "genesis",
    "kernel",
    "key",
    "kill",
    "policy",
    "redact",
    "settle",
    "standing",
  ]);
});

test("members may stand in any order, and in another one than those of the record before", () => {
  const turned = Object.fromEntries(Object.entries(ALLOW).toReversed());
  for (const record of [ALLOW, bent(turned as AuditRecord, {}), DENY, ALLOW]) {
    expect(encodeLeaf(record).toString()).toBe(canonicalJson(record));
  }
});

describe.each(byKind)("%s", (_name, record) => {
  test("is written exactly as canonical JSON writes it, and read back", () => {
    const leaf = encodeLeaf(record);
    expect(leaf.toString()).toBe(canonicalJson(record));
    expect(decoded(leaf)).toEqual({ ok: true, record });
  });

  test("is said to have its members where a reader finds them", () => {
    const into = Buffer.alloc(LEAF_BYTES_MAX + 16, 0xee);
    putLeaf(ALLOW, into, 8);
    into.fill(0xee);
    const { bytes, scan } = putLeaf(record, into, 8);
    const leaf = into.subarray(8, 8 + bytes);
    expect(leaf).toEqual(encodeLeaf(record));
    const around = [...into.subarray(0, 8), ...into.subarray(8 + bytes)];
    expect(around.every((byte) => byte === 0xee)).toBe(true);
    if (leaf.length === leaf.toString().length) expect(scan).toEqual(scanLeaf(leaf));
    else expect(scan.epAt).toBe(-1);
  });

  test("is sealed with epoch and index at their sorted places, once", () => {
    const sealed = sealLeaf(encodeLeaf(record), { ep: 3, seq: 123_456 });
    expect(sealed.toString()).toBe(canonicalJson({ ...record, ep: 3, seq: 123_456 }));
    const result = decoded(sealed);
    expect(result.ok && isSealed(result.record) && result.record.seq).toBe(123_456);
    expect(() => sealLeaf(sealed, { ep: 3, seq: 123_456 })).toThrow(RecordError);
  });

  test("admits no member that the schema does not name, at any depth", () => {
    expect(() => encodeLeaf(bent(record, { content: "secret" }))).toThrow(/content/);
    for (const [name, member] of Object.entries(record)) {
      if (typeof member !== "object" || Array.isArray(member)) continue;
      const nested = { ...member, note: "secret" };
      expect(() => encodeLeaf(bent(record, { [name]: nested }))).toThrow(/note/);
      expect(flawOf(canonicalJson({ ...record, [name]: nested }))).toBe("leaf_schema");
    }
  });

  test("refuses a value of another type in any member", () => {
    for (const [name, member] of Object.entries(record)) {
      const wrongs = [null, {}, [], Number.NaN, -0.5, "", "\ud800", 2 ** 53, undefined];
      // A quoted checkpoint is the one member that has lines.
      if (name !== "prev") wrongs.push(`${member}\n`, "a\nb");
      for (const wrong of wrongs) {
        expect(() => encodeLeaf(bent(record, { [name]: wrong })), `${name}=${wrong}`).toThrow(
          RecordError,
        );
      }
    }
  });
});

test("every mandatory member of a decision is missed, and no optional one", () => {
  const missed = Object.keys(ALLOW).filter((name) => {
    const { [name as keyof DecisionRecord]: _dropped, ...rest } = ALLOW;
    return flawOf(canonicalJson(rest)) !== "none";
  });
  expect(missed.sort()).toEqual(
    ["act", "dec", "in", "k", "node", "ph", "pol", "rc", "rid", "st", "sv", "t", "tb", "v"].sort(),
  );
});

describe("a decision contradicts itself in no way", () => {
  test.each<[string, DecisionRecord, Record<string, unknown>]>([
    ["an allow with a stage", ALLOW, { st: 3 }],
    ["an allow with a reason", ALLOW, { rc: "model_not_granted" }],
    ["an allow with an objection", ALLOW, { sv: "PPPPPPPPDPPPPP" }],
    ["an allow that left a stage out", ALLOW, { sv: "PPPPPPPPPPPPP-" }],
    ["a refusal without a stage", DENY, { st: 0 }],
    ["a refusal for the reason ok", DENY, { rc: "ok" }],
    ["a refusal by a stage that passed", DENY, { st: 8 }],
    ["a shadow refusal by a stage that passed", ALLOW, { dec: "would_refuse", st: 9, rc: "x" }],
    ["thirteen letters", ALLOW, { sv: "PPPPPPPPPPPPP" }],
    ["fifteen letters", ALLOW, { sv: "PPPPPPPPPPPPPPP" }],
    ["more scanned than there was", ALLOW, { in: { n: 1, scanned: 2, rules: 1 } }],
    ["unscanned bytes without a word", ALLOW, { in: { n: 2, scanned: 1, rules: 1 } }],
    ["a stage beyond the last", DENY, { st: 15 }],
    ["a request id of another version", ALLOW, { rid: "01998f3e-7c1a-4b2c-9d3e-5f60718293a4" }],
    ["a request id in upper case", ALLOW, { rid: ALLOW.rid.toUpperCase() }],
    ["a key id that is too long", ALLOW, { kid: "k".repeat(129) }],
    ["a reason that is too long", DENY, { rc: "r".repeat(65) }],
    ["an agent's bare id", ALLOW, { ag: "payments/worker-17" }],
    ["a client's id with a control", ALLOW, { cid: "a\u0007" }],
    ["a client's id beyond ASCII", ALLOW, { cid: "é" }],
    ["a model name with a quote", ALLOW, { act: { door: "gateway", model: 'a"b' } }],
    ["a model name with a space", ALLOW, { act: { door: "gateway", model: "a b" } }],
    ["epoch without index", ALLOW, { ep: 1 }],
    ["index without epoch", ALLOW, { seq: 1 }],
  ])("%s is refused both ways", (_name, record, change) => {
    const wrong = bent(record, change);
    expect(() => encodeLeaf(wrong)).toThrow(RecordError);
    expect(flawOf(canonicalJson(wrong))).toBe("leaf_schema");
  });

  test("a shadow refusal names the stage that objected", () => {
    const shadow = { ...ALLOW, dec: "would_refuse", st: 9, rc: "model_not_granted" } as const;
    expect(decoded(encodeLeaf({ ...shadow, sv: "PPPPPPPPDPSSPP" })).ok).toBe(true);
  });
});

describe("bytes that are not the canonical spelling are refused", () => {
  const text = encodeLeaf(DENY).toString();
  test.each<[string, string | Uint8Array, string]>([
    ["white space", text.replace(":", ": "), "leaf_not_canonical"],
    ["a final newline", `${text}\n`, "leaf_not_canonical"],
    [
      "members in another order",
      `{"v":1,${text.slice(1).replace(',"v":1', "")}`,
      "leaf_not_canonical",
    ],
    ["a duplicate member", `${text.slice(0, -1)},"v":1}`, "leaf_not_canonical"],
    ["a number spelt otherwise", text.replace('"tb":42', '"tb":42.0'), "leaf_not_canonical"],
    [
      "an escape that is not needed",
      text.replace("decision", "\\u0064ecision"),
      "leaf_not_canonical",
    ],
    ["a member called __proto__", `{"__proto__":{},${text.slice(1)}`, "leaf_schema"],
    ["a byte order mark", `\ufeff${text}`, "leaf_not_json"],
    ["cut text", text.slice(0, -1), "leaf_not_json"],
    ["nothing", "", "leaf_not_json"],
    ["null", "null", "leaf_kind_unknown"],
    ["an array", "[]", "leaf_kind_unknown"],
    ["an unknown kind", text.replace('"k":"decision"', '"k":"toString"'), "leaf_kind_unknown"],
    ["invalid UTF-8", Buffer.concat([Buffer.from(text), Buffer.from([0xff])]), "leaf_not_utf8"],
    ["too many bytes", " ".repeat(LEAF_BYTES_MAX + 1), "leaf_too_large"],
  ])("%s", (_name, bytes, flaw) => {
    expect(flawOf(bytes)).toBe(flaw);
    expect(() => sealLeaf(Buffer.from(bytes), { ep: 1, seq: 0 })).toThrow(RecordError);
  });
});

test("a record with a place is not written to the WAL", () => {
  const sealed = bent(ALLOW, { ep: 1, seq: 0 });
  expect(() => encodeLeaf(sealed)).toThrow(/place/);
});

test("the largest decision there can be fits a leaf", () => {
  const name = "m".repeat(RECORD_NAME_CHARS_MAX);
  const long = "x".repeat(128);
  const max = Number.MAX_SAFE_INTEGER;
  const amounts = { usd_u: max, tok: max, calls: max, over_u: max };
  const record: DecisionRecord = {
    ...ALLOW,
    t: max,
    node: "n".repeat(63),
    act: {
      door: "transparent",
      host: "h".repeat(261),
      route: name,
      model: name,
      tools: Array.from({ length: RECORD_TOOLS_MAX - 1 }, () => name),
      out: [name],
      stream: false,
    },
    ag: `spiffe://${"m".repeat(180)}/agent/${"t".repeat(30)}/${"a".repeat(29)}`,
    kid: long,
    sp: long,
    rule: long,
    pol: long,
    tb: max,
    c: { id: long, root: long, d: max },
    hold: { ...amounts, acct: long, lease: long },
    cid: '"'.repeat(CLIENT_ID_CHARS_MAX),
    in: { n: max, scanned: 0, rules: max, skipped: "s".repeat(64) },
    n: max,
    clamped: max,
    lat_us: max,
  };
  const sealed = sealLeaf(encodeLeaf(record), { ep: max, seq: max });
  expect(sealed.length).toBeLessThanOrEqual(LEAF_BYTES_MAX);
  const act = { ...record.act, tools: [...(record.act.tools ?? []), "one", "more"] };
  expect(() => encodeLeaf({ ...record, act })).toThrow(RecordError);
});

test("a quoted checkpoint that would burst the leaf is refused", () => {
  const genesis = { ...RECORDS.find((record) => record.k === "genesis") } as AuditRecord;
  const prev = "—".repeat(QUOTED_CHECKPOINT_CHARS_MAX);
  expect(() => encodeLeaf(bent(genesis, { prev }))).toThrow(/a leaf of/);
});

test("text from outside is made fit, never free", () => {
  expect(recordable("gpt-4o")).toBe("gpt-4o");
  expect(recordable('ig"nore\\ all\n previous é')).toBe("ig?nore??all??previous??");
  expect(recordable("")).toBe("?");
  expect(recordable("x".repeat(500))).toBe(`${"x".repeat(RECORD_NAME_CHARS_MAX - 1)}~`);
  const model = recordable("\u0000\ud800".repeat(99));
  expect(decoded(encodeLeaf({ ...DENY, act: { door: "gateway", model } })).ok).toBe(true);
});

test("the sum of decisions counts floods and leaves out what is not a decision", () => {
  expect(RECORDS.map(decisionsIn).reduce((sum, n) => sum + n, 0)).toBe(1 + 1 + 5_000);
  expect(decisionsIn({ ...DENY, n: 7 })).toBe(7);
});
