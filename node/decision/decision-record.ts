import {
  type Act,
  CLIENT_ID_CHARS_MAX,
  type DecisionRecord,
  type Hold,
  type Inspection,
  type PassedBytes,
  RECORD_TOOLS_MAX,
  recordable,
  type SettleRecord,
  STAGES,
} from "../../audit/record.ts";
import { spiffeId } from "../../proto/ids.ts";
import type { Cost, Destination, Facts, Identity } from "./facts.ts";
import { isMissing, isTunnel } from "./facts.ts";
import type { Verdict } from "./verdict.ts";

/** What a record says that is not of the request: where and under which state it was decided. */
export type RecordContext = {
  readonly mesh: string;
  readonly node: string;
  /** Version of the trust bundle in force. */
  readonly trustVersion: number;
  /** The client's own x-request-id, as received. */
  readonly clientRequestId: string | undefined;
  /** Wall clock at the decision, ms since the Unix epoch. */
  readonly nowMs: number;
  /** Time from the complete head to the decision, microseconds. */
  readonly latencyUs: number;
};

/** The record of one verdict on the way in. */
export function decisionRecord(
  facts: Facts,
  verdict: Verdict,
  context: RecordContext,
): DecisionRecord {
  const { refusal } = verdict;
  const shadow = verdict.wouldRefuse[0];
  const objection = refusal ?? shadow;
  const hold = refusal === undefined ? holdOf(facts, verdict) : undefined;
  const inspection = inspectionOf(facts);
  const clamped =
    facts.cost !== undefined && !isMissing(facts.cost) ? facts.cost.outputTokensSet : undefined;
  return {
    v: 1,
    k: "decision",
    t: context.nowMs,
    node: context.node,
    rid: facts.requestId,
    ...holder(facts, context.mesh),
    ...contractRef(facts),
    ph: "request",
    dec: refusal !== undefined ? "deny" : shadow !== undefined ? "would_refuse" : "allow",
    st: objection?.stage ?? 0,
    sv: verdict.stages,
    rc: objection?.reason ?? "ok",
    ...(objection?.rule !== undefined && { rule: recordable(objection.rule) }),
    act: actOf(facts),
    pol: facts.policy === undefined ? "none" : `sha256:${facts.policy.sha256}`,
    tb: context.trustVersion,
    ...(hold !== undefined && { hold }),
    ...(clamped !== undefined && { clamped }),
    ...(inspection !== undefined && { in: inspection }),
    ...(context.clientRequestId !== undefined && {
      cid: recordable(context.clientRequestId, CLIENT_ID_CHARS_MAX),
    }),
    lat_us: context.latencyUs,
  };
}

/** How an allowed request ended. `reason` is `ok` for an answer that went through whole. */
export function settleRecord(
  facts: Facts,
  end: {
    readonly reason: string;
    readonly spent: Cost;
    readonly overrunMicros: bigint;
    readonly inspection: Inspection | undefined;
    readonly bytes?: PassedBytes | undefined;
  },
  context: RecordContext,
): SettleRecord {
  return {
    v: 1,
    k: "settle",
    t: context.nowMs,
    node: context.node,
    rid: facts.requestId,
    ...holder(facts, context.mesh),
    ph: "response",
    rc: end.reason,
    settled: amounts(end.spent, end.overrunMicros),
    ...(end.bytes !== undefined && { bytes: end.bytes }),
    ...(end.inspection !== undefined && { in: end.inspection }),
    lat_us: context.latencyUs,
  };
}

/** The second record of a request whose answer was cut by a rule. */
export function cutRecord(
  facts: Facts,
  cut: {
    readonly stage: number;
    readonly reason: string;
    readonly rule: string | undefined;
    /** The stage is in shadow: the answer went on. */
    readonly shadow?: boolean;
  },
  context: RecordContext,
): DecisionRecord {
  return {
    v: 1,
    k: "decision",
    t: context.nowMs,
    node: context.node,
    rid: facts.requestId,
    ...holder(facts, context.mesh),
    ...contractRef(facts),
    ph: "response",
    dec: cut.shadow === true ? "would_refuse" : "deny",
    st: cut.stage,
    // An answer is put to nothing but what cut it: the other stages were asked of the request.
    sv: `${"-".repeat(cut.stage - 1)}D`.padEnd(STAGES, "-"),
    rc: cut.reason,
    ...(cut.rule !== undefined && { rule: recordable(cut.rule) }),
    act: actOf(facts),
    pol: facts.policy === undefined ? "none" : `sha256:${facts.policy.sha256}`,
    tb: context.trustVersion,
    lat_us: context.latencyUs,
  };
}

function holder({ identity }: Facts, mesh: string): { ag?: string; kid?: string; sp?: string } {
  if (isMissing(identity)) return {};
  const { agentId, keyId: kid, pseudonym: sp } = identity;
  return { ag: spiffeId(mesh, agentId), kid, ...(sp !== undefined && { sp }) };
}

/** Which contract it ran under, its root and how far below it stands. */
function contractRef({ contract }: Facts): Pick<DecisionRecord, "c"> {
  if (contract === undefined || isMissing(contract)) return {};
  const [root] = contract.ids;
  const id = contract.ids.at(-1);
  return root === undefined || id === undefined
    ? {}
    : { c: { id, root, d: contract.ids.length - 1 } };
}

function actOf(facts: Facts): Act {
  const { request, model, destination } = facts;
  const original = destination?.original;
  const host =
    destination !== undefined
      ? shownHost(destination)
      : model !== undefined && !isMissing(model)
        ? model.provider.host
        : undefined;
  const where = {
    door: facts.door,
    ...(host !== undefined && { host }),
    ...(original !== undefined && { orig: original }),
  };
  if (isMissing(request)) return where;
  return {
    ...where,
    route: request.route,
    ...(request.model !== undefined && { model: recordable(request.model) }),
    // A request with more of them was refused for that.
    tools: request.tools
      .slice(0, RECORD_TOOLS_MAX)
      .map(({ name }) => (name === undefined ? "?" : recordable(name))),
    ...(request.toolsOut !== undefined && {
      out: request.toolsOut.slice(0, RECORD_TOOLS_MAX).map((name) => recordable(name)),
    }),
    stream: request.stream,
  };
}

const HOST_CHARS_MAX = 253;

/** A host that no grant could name may hold anything. */
function shownHost({ host, port }: Destination): string {
  return `${host.slice(0, HOST_CHARS_MAX).replace(/[^a-z0-9_.:[\]-]/g, "_")}:${port}`;
}

function holdOf(facts: Facts, verdict: Verdict): Hold | undefined {
  if (facts.cost === undefined || isMissing(facts.identity)) return undefined;
  return {
    ...amounts(verdict.charges.cost, verdict.charges.overrunMicros),
    acct: accountOf(facts.identity),
    lease: "table",
  };
}

function accountOf({ agentId, contractId }: Identity): string {
  return contractId === undefined ? `agent/${agentId}` : `contract/${contractId}`;
}

function inspectionOf(facts: Facts): Inspection | undefined {
  if (isMissing(facts.request)) return undefined;
  // What passes a tunnel is not read, and how much it was is told when it ends.
  if (isTunnel(facts)) return { n: 0, scanned: 0, rules: 0, skipped: "tunnel" };
  const n = facts.request.bodyBytes;
  if (isMissing(facts.scan)) return { n, scanned: 0, rules: 0, skipped: facts.scan.missing };
  const { complete, scannedBytes } = facts.scan;
  const scanned = complete ? n : Math.min(n, scannedBytes);
  const rules = facts.policy?.content.length ?? 0;
  return complete ? { n, scanned, rules } : { n, scanned, rules, skipped: "incomplete" };
}

function amounts(cost: Cost, overrunMicros: bigint) {
  return {
    usd_u: count(cost.usdMicros),
    tok: count(cost.tokens),
    calls: count(cost.calls),
    over_u: count(overrunMicros),
  };
}

/** A record's integers end at 2^53-1. Only what no limit counts can be more. */
function count(amount: bigint): number {
  return Number(amount < COUNT_MAX ? amount : COUNT_MAX);
}

const COUNT_MAX = BigInt(Number.MAX_SAFE_INTEGER);
