/** Records for the tests of the log: one of each kind, with every member there is. */

import type { AuditRecord, DecisionRecord } from "../../../audit/record.ts";

const RID = "01998f3e-7c1a-7b2c-9d3e-5f60718293a4";
const head = { v: 1, t: 1_790_000_000_123, node: "node-7" } as const;
const ag = "spiffe://acme/agent/payments/worker-17";
const c = { id: "c".repeat(43), root: "r".repeat(43), d: 2 };
const amounts = { usd_u: 1_250, tok: 900, calls: 1, over_u: 125 };
const hold = { ...amounts, acct: "agent/payments/worker-17", lease: "01998f3e" };
const rec = "ab".repeat(32);

export const ALLOW: DecisionRecord = {
  ...head,
  k: "decision",
  rid: RID,
  ph: "request",
  dec: "allow",
  st: 0,
  sv: "PPPPPPPPPPSSPP",
  rc: "ok",
  act: {
    door: "gateway",
    host: "api.openai.com",
    route: "openai.chat",
    model: "gpt-4o",
    tools: ["search", "read_file"],
    stream: true,
  },
  rule: "team-default",
  pol: `sha256:${"0f".repeat(32)}`,
  tb: 42,
  ag,
  kid: "k1234567",
  sp: "5f60718293a4",
  c,
  hold,
  clamped: 16_384,
  cid: 'client "id" \\ 7',
  n: 1,
  lat_us: 412,
  in: { n: 5_120, scanned: 4_096, rules: 4, skipped: "scan_budget" },
};

export const DENY: DecisionRecord = {
  ...head,
  k: "decision",
  rid: RID,
  ph: "request",
  dec: "deny",
  st: 9,
  sv: "PPPPPPPPD-----",
  rc: "model_not_granted",
  act: { door: "forward" },
  pol: "v12",
  tb: 42,
};

/** One of every kind. */
export const RECORDS: readonly AuditRecord[] = [
  ALLOW,
  DENY,
  {
    ...head,
    k: "settle",
    rid: RID,
    ph: "response",
    rc: "ok",
    settled: amounts,
    hold,
    ag,
    kid: "k1234567",
    sp: "5f60718293a4",
    c,
    in: { n: 10, scanned: 10, rules: 4 },
    lat_us: 1,
  },
  {
    ...head,
    k: "flood",
    n: 5_000,
    t0: head.t - 999,
    first: RID,
    last: RID.replace("01998f3e", "01998f3f"),
    st: 2,
    rc: "credential_unknown",
    ag,
    pol: "v12",
    tb: 42,
  },
  { ...head, k: "boot", run: "b7", boot: RID, clean: false, torn: 311, sw: "0.1.0" },
  { ...head, k: "gap", n: 12, exact: true, rc: "power_loss", t0: head.t - 5, t1: head.t },
  { ...head, k: "clock", step_ms: -3_600_000 },
  { ...head, k: "policy", pol: "v13", prev: "v12", rec },
  { ...head, k: "key", op: "add", use: "agent", kid: "k1234567", ag, tb: 43, rec },
  { ...head, k: "kill", op: "kill", scope: "team/payments", ver: 7, rec, enf_us: 90, cut: 3 },
  {
    ...head,
    k: "standing",
    ag,
    from: "normal",
    to: "quarantine",
    rc: "tool_outside_contract",
    score: 60,
    rid: RID,
  },
  {
    ...head,
    k: "command",
    op: "kill",
    scope: "team/payments",
    ver: 3,
    rec,
    cmd: RID,
    at: 1_790_000_000_000,
    by: ["0123456789abcdef"],
    who: "alice",
    why: "drill, as announced",
    cause: "content_high",
  },
  { ...head, k: "distrust", model: "openai/gpt-5", milli: 2_400, by: "bill", rid: RID, rec },
  {
    ...head,
    k: "kernel",
    rc: "kernel_bypass",
    wrong: ["kernel_bypass", "kernel_rules_down"],
    what: ["a?canary?reached?10.9.0.2:14055?over?tcp"],
  },
  { ...head, k: "genesis", origin: "altrace.acme/node-7/e2", rc: "epoch_full", prev: "a\n1\n—\n" },
  { ...head, k: "close", rc: "epoch_full" },
  { ...head, k: "redact", kid: "sp-2026-01", by: "op-1", rc: "erasure_request" },
];
