import { describe, expect, test } from "vitest";
import type { DecisionRecord, SettleRecord } from "../../../../audit/record.ts";
import { explainRecords } from "../../../../node/audit/explain-record.ts";
import { CHAIN } from "../../../../node/decision/chain.ts";
import { REASONS } from "../../../../proto/reasons.ts";
import { ALLOW, DENY } from "../../audit/sample-records.ts";

const SETTLE = {
  v: 1,
  k: "settle",
  t: ALLOW.t + 900,
  node: "node-7",
  rid: ALLOW.rid,
  ph: "response",
  rc: "ok",
  settled: { usd_u: 1, tok: 1, calls: 1, over_u: 0 },
} as const satisfies SettleRecord;

const CUT: DecisionRecord = {
  ...DENY,
  ph: "response",
  st: 12,
  sv: "PPPPPPPPPPPD--",
  rc: "content_cut",
  rule: "no-secrets",
};

describe("the 14 rows", () => {
  test("say of each stage what it asks, in the chain's order", () => {
    const rows = explainRecords([DENY]) ?? [];
    expect(rows.map(({ no, stage, asks }) => ({ no, stage, asks }))).toEqual(
      CHAIN.map(({ no, name, asks }) => ({ no, stage: name, asks })),
    );
  });

  test("show a refusal where it was, passes before it and nothing reached after it", () => {
    const rows = explainRecords([DENY]) ?? [];
    expect(rows.map(({ outcome }) => outcome)).toEqual([
      ...Array(8).fill("pass"),
      "refused",
      ...Array(5).fill("not reached"),
    ]);
    expect(rows[8]).toMatchObject({
      reason: "model_not_granted",
      says: REASONS.model_not_granted.operator,
    });
    expect(rows.filter(({ reason }) => reason !== undefined)).toHaveLength(1);
  });

  test("show stages that do not apply to an allow", () => {
    const rows = explainRecords([ALLOW, SETTLE]) ?? [];
    const at = (outcome: string) =>
      rows.filter((row) => row.outcome === outcome).map(({ no }) => no);
    expect(at("not applicable")).toEqual([11, 12]);
    expect(at("pass")).toHaveLength(12);
  });

  test("tell what a stage in shadow would have refused", () => {
    const shadow: DecisionRecord = {
      ...ALLOW,
      dec: "would_refuse",
      st: 9,
      sv: "PPPPPPPPDDPPPP",
      rc: "model_not_granted",
      rule: "models",
    };
    const rows = explainRecords([shadow]) ?? [];
    expect(rows[8]).toMatchObject({ outcome: "would refuse", reason: "model_not_granted" });
    expect(rows[8]).toMatchObject({ rule: "models" });
    expect(rows[9]?.outcome).toBe("would refuse");
    expect(rows[9]?.reason).toBeUndefined();
  });

  test("tell what a stage in shadow would have cut an answer for", () => {
    const said: DecisionRecord = {
      ...ALLOW,
      ph: "response",
      dec: "would_refuse",
      st: 10,
      sv: "---------D----",
      rc: "tool_call_not_granted",
      rule: "shell",
    };
    const row = (explainRecords([ALLOW, said]) ?? [])[9];
    expect(row).toMatchObject({ outcome: "would refuse", reason: "tool_call_not_granted" });
    expect(row?.cut).toBeUndefined();
  });

  test("tell a stage in shadow from the one that refused", () => {
    const both: DecisionRecord = { ...DENY, st: 10, sv: "PPPPPPPPDD----", rc: "tool_not_granted" };
    const rows = explainRecords([both]) ?? [];
    expect(rows[8]).toMatchObject({ outcome: "would refuse" });
    expect(rows[8]?.reason).toBeUndefined();
    expect(rows[9]).toMatchObject({ outcome: "refused", reason: "tool_not_granted" });
  });

  test.each([
    ["in time", [ALLOW, CUT, SETTLE]],
    ["backwards", [SETTLE, CUT, ALLOW]],
  ])("show where an answer was cut, with the records %s", (_, records) => {
    const rows = explainRecords(records) ?? [];
    expect(rows[11]).toMatchObject({ outcome: "refused", reason: "content_cut", cut: true });
    expect(rows[11]).toMatchObject({ rule: "no-secrets" });
    expect(rows[12]?.outcome).toBe("pass");
  });

  test("keep a reason that this version does not know", () => {
    const rows = explainRecords([{ ...DENY, rc: "reason_of_tomorrow" }]) ?? [];
    expect(rows[8]).toMatchObject({ reason: "reason_of_tomorrow" });
    expect(rows[8]?.says).toBeUndefined();
  });

  test("cannot be given without a decision", () => {
    expect(explainRecords([SETTLE])).toBeUndefined();
    expect(explainRecords([])).toBeUndefined();
  });
});
