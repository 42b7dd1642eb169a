import { expect, test } from "vitest";
import { ocsfEvent } from "../../../audit/ocsf.ts";
import type { AuditRecord, SealedRecord } from "../../../audit/record.ts";
import { ALLOW, DENY, RECORDS } from "./sample-records.ts";

const sealed = (record: AuditRecord): SealedRecord => ({ ...record, ep: 3, seq: 7 });

test("decisions and floods are events, each with its place, its agent and how many it stands for", () => {
  expect(ocsfEvent(sealed(ALLOW))).toMatchObject({
    class_uid: 6003,
    type_uid: 600399,
    count: 1,
    status_id: 1,
    time: ALLOW.t,
    metadata: { uid: "node-7/e3/7" },
    actor: { user: { uid: ALLOW.ag } },
    api: { operation: "openai.chat", request: { uid: ALLOW.rid }, service: { uid: "gpt-4o" } },
    policy: { uid: "team-default" },
  });
  expect(ocsfEvent(sealed(DENY))).toMatchObject({ status_id: 2, status_detail: DENY.rc });
  const events = RECORDS.map((record) => ocsfEvent(sealed(record)));
  expect(events.map((event) => event?.count)).toEqual([
    1,
    1,
    undefined,
    5_000,
    ...Array(RECORDS.length - 4).fill(undefined),
  ]);
});

test("an event says under which contract it was, and in which phase", () => {
  const c = { id: "c".repeat(43), root: "r".repeat(43), d: 1 };
  expect(ocsfEvent(sealed({ ...ALLOW, c }))?.unmapped).toMatchObject({
    decision: "allow",
    phase: "request",
    contract: c.id,
    root_contract: c.root,
  });
  const { c: _, ...free } = { ...DENY, ph: "response" as const };
  expect(ocsfEvent(sealed(free))?.unmapped).toEqual({
    stage: DENY.st,
    reason: DENY.rc,
    decision: "deny",
    phase: "response",
    ...(DENY.sp !== undefined && { on_behalf_of: DENY.sp }),
  });
});
