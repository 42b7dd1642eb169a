import { describe, expect, test } from "vitest";
import { encodeLeaf } from "../../../../audit/leaf.ts";
import type { MeshRecord } from "../../../../mesh/record.ts";
import { commandRecord } from "../../../../node/mesh/command-record.ts";
import { parseScope } from "../../../../proto/ids.ts";

const now = { t: 1_790_000_000_123, node: "n1" };

function recordOf(scope: string, op: object, over: Partial<MeshRecord> = {}): MeshRecord {
  return {
    scope,
    parsed: parseScope(scope),
    v: 3,
    hashHex: "ab".repeat(32),
    cmdId: "01998f3e-7c1a-7b2c-9d3e-5f60718293a4",
    issuedAtMs: 1_790_000_000_000,
    operator: "alice",
    kids: ["0123456789abcdef"],
    op,
    ...over,
  } as MeshRecord;
}

const kill = (value: object = {}) => ({ case: "kill", value: { reason: "", cause: "", ...value } });

const distrust = (era: bigint, since = Buffer.alloc(0)) => ({
  case: "limit",
  value: { of: { case: "distrust", value: { milli: 1_100n, era, since } } },
});

describe("an order in the log", () => {
  test.each([
    ["team/a", kill(), "kill"],
    ["team/a", { case: "revive", value: { reason: "" } }, "revive"],
    ["policy", { case: "policy", value: {} }, "policy"],
    ["trust", { case: "trust", value: {} }, "trust"],
    ["budget/agent/a/b", { case: "limit", value: {} }, "limit"],
    ["distrust/openai/gpt-5", distrust(1n), "limit"],
    ["key/k1234567", { case: "key", value: {} }, "add"],
    ["key/k1234567", kill(), "remove"],
    ["node/n2", { case: "trust", value: {} }, "add"],
    ["node/n2", kill(), "remove"],
    [
      "redaction/01998f3e-0000-7000-8000-000000000001",
      { case: "redact", value: { reason: "asked_for" } },
      "redact",
    ],
  ])("of %s says what it did", (scope, op, said) => {
    const record = commandRecord(recordOf(scope, op), now);
    expect(record).toMatchObject({ op: said, scope, by: ["0123456789abcdef"], who: "alice" });
    if (record !== undefined) encodeLeaf(record);
  });

  test("of the longest names, the wildest words and no name can be written down", () => {
    const name = "a".repeat(63);
    const wild = { reason: `"\\\u0000\u2028 \u00e9${"x".repeat(256)}`, cause: "content_high" };
    const over = { operator: '\u0000 \ud800 "\\' };
    const records = [
      recordOf(`budget/agent/${name}/${name}`, { case: "limit", value: {} }, over),
      recordOf(`agent/${name}/${name}`, kill(wild), { operator: "" }),
      recordOf(`agent/${name}/${name}`, kill(wild), { operator: "o".repeat(128) }),
    ];
    for (const record of records) {
      const command = commandRecord(record, now);
      if (command === undefined) throw new Error("no record");
      expect(encodeLeaf(command).length).toBeLessThan(2_000);
    }
  });

  test("is none where bills made a price dearer, or where it came from this disk", () => {
    for (const raise of [distrust(0n), distrust(2n, Buffer.from("by whom it was begun"))]) {
      expect(commandRecord(recordOf("distrust/openai/gpt-5", raise), now)).toBeUndefined();
    }
    expect(commandRecord(recordOf("team/a", kill(), { kids: [] }), now)).toBeUndefined();
  });
});
