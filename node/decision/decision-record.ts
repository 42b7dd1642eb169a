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
  const record: Growing<DecisionRecord> = {
    v: 1,
    k: "decision",
    t: context.nowMs,
    node: context.node,
    rid: facts.requestId,
    ph: "request",
    dec: refusal !== undefined ? "deny" : shadow !== undefined ? "would_refuse" : "allow",
    st: objection?.stage ?? 0,
    sv: verdict.stages,
    rc: objection?.reason ?? "ok",
    act: actOf(facts),
    pol: policyOf(facts),
    tb: context.trustVersion,
    lat_us: context.latencyUs,
  };
  addHolder(record, facts, context.mesh);
  addContract(record, facts);
  if (objection?.rule !== undefined) record.rule = recordable(objection.rule);
  if (hold !== undefined) record.hold = hold;
  if (clamped !== undefined) record.clamped = clamped;
  if (inspection !== undefined) record.in = inspection;
  if (context.clientRequestId !== undefined) {
    record.cid = recordable(context.clientRequestId, CLIENT_ID_CHARS_MAX);
  }
  return record;
}

/**
 * A record that is being made. What it may lack is added by name: spreading an object into another, as one
 * might for each of them, costs more than all else that a record takes, and there are two of every request.
 */
type Growing<T> = { -readonly [Member in keyof T]: T[Member] };

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
  const record: Growing<SettleRecord> = {
    v: 1,
    k: "settle",
    t: context.nowMs,
    node: context.node,
    rid: facts.requestId,
    ph: "response",
    rc: end.reason,
    settled: amounts(end.spent, end.overrunMicros),
    lat_us: context.latencyUs,
  };
  addHolder(record, facts, context.mesh);
  if (end.bytes !== undefined) record.bytes = end.bytes;
  if (end.inspection !== undefined) record.in = end.inspection;
  return record;
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
  const record: Growing<DecisionRecord> = {
    v: 1,
    k: "decision",
    t: context.nowMs,
    node: context.node,
    rid: facts.requestId,
    ph: "response",
    dec: cut.shadow === true ? "would_refuse" : "deny",
    st: cut.stage,
    // An answer is put to nothing but what cut it: the other stages were asked of the request.
    sv: `${"-".repeat(cut.stage - 1)}D`.padEnd(STAGES, "-"),
    rc: cut.reason,
    act: actOf(facts),
    pol: policyOf(facts),
    tb: context.trustVersion,
    lat_us: context.latencyUs,
  };
  addHolder(record, facts, context.mesh);
  addContract(record, facts);
  if (cut.rule !== undefined) record.rule = recordable(cut.rule);
  return record;
}

function policyOf({ policy }: Facts): string {
  if (policy === undefined) return "none";
  const known = POLICY_TEXTS.get(policy);
  if (known !== undefined) return known;
  const text = `sha256:${policy.sha256}`;
  POLICY_TEXTS.set(policy, text);
  return text;
}

/** Made once: a text that is the one of the record before is not looked at letter by letter. */
const POLICY_TEXTS = new WeakMap<object, string>();

function addHolder(
  record: Growing<Pick<DecisionRecord, "ag" | "kid" | "sp">>,
  { identity }: Facts,
  mesh: string,
): void {
  if (isMissing(identity)) return;
  record.ag = spiffeId(mesh, identity.agentId);
  record.kid = identity.keyId;
  if (identity.pseudonym !== undefined) record.sp = identity.pseudonym;
}

/** Which contract it ran under, its root and how far below it stands. */
function addContract(record: Growing<Pick<DecisionRecord, "c">>, { contract }: Facts): void {
  if (contract === undefined || isMissing(contract)) return;
  const [root] = contract.ids;
  const id = contract.ids.at(-1);
  if (root !== undefined && id !== undefined) {
    record.c = { id, root, d: contract.ids.length - 1 };
  }
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
  const act: Growing<Act> = { door: facts.door };
  if (host !== undefined) act.host = host;
  if (original !== undefined) act.orig = original;
  if (isMissing(request)) return act;
  const { tools, toolsOut } = request;
  act.route = request.route;
  if (request.model !== undefined) act.model = recordable(request.model);
  act.tools = tools.length === 0 ? NO_TOOLS : toolNames(tools);
  if (toolsOut !== undefined) act.out = toolNames(toolsOut.map((name) => ({ name })));
  act.stream = request.stream;
  return act;
}

const NO_TOOLS: readonly string[] = [];

/** A request with more of them was refused for that. */
function toolNames(tools: readonly { readonly name: string | undefined }[]): readonly string[] {
  return tools
    .slice(0, RECORD_TOOLS_MAX)
    .map(({ name }) => (name === undefined ? "?" : recordable(name)));
}

const HOST_CHARS_MAX = 253;

/** A host that no grant could name may hold anything. */
function shownHost({ host, port }: Destination): string {
  return `${host.slice(0, HOST_CHARS_MAX).replace(/[^a-z0-9_.:[\]-]/g, "_")}:${port}`;
}

function holdOf(facts: Facts, verdict: Verdict): Hold | undefined {
  if (facts.cost === undefined || isMissing(facts.identity)) return undefined;
  const { cost, overrunMicros } = verdict.charges;
  return {
    usd_u: count(cost.usdMicros),
    tok: count(cost.tokens),
    calls: count(cost.calls),
    over_u: count(overrunMicros),
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
