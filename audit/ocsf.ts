// Records as events of the Open Cybersecurity Schema Framework, for tools that read those.

import type { AuditRecord, DecisionRecord, FloodRecord, SealedRecord } from "./record.ts";

/** Version of the schema that is written. */
export const OCSF_VERSION = "1.3.0";

/** API Activity of the category Application Activity. */
const CLASS = { category_uid: 6, class_uid: 6003 } as const;
const ACTIVITY_OTHER = 99;
const STATUS = { success: 1, failure: 2 } as const;
const SEVERITY = { informational: 1, medium: 3 } as const;

/**
 * What one record is as an event; undefined: it is none, as what the log says of itself.
 *
 * @param person On whose behalf, where that is to be said; else what stands for them.
 */
export function ocsfEvent(
  record: SealedRecord,
  person?: string,
): Readonly<Record<string, unknown>> | undefined {
  if (record.k !== "decision" && record.k !== "flood") return undefined;
  const isRefused = record.k === "flood" || record.dec === "deny";
  return {
    ...CLASS,
    activity_id: ACTIVITY_OTHER,
    activity_name: "decide",
    type_uid: CLASS.class_uid * 100 + ACTIVITY_OTHER,
    time: record.t,
    ...(record.k === "flood" && { start_time: record.t0, end_time: record.t }),
    count: record.n ?? 1,
    severity_id: isRefused ? SEVERITY.medium : SEVERITY.informational,
    status_id: isRefused ? STATUS.failure : STATUS.success,
    status_detail: record.rc,
    metadata: {
      version: OCSF_VERSION,
      product: { name: "Altrace", vendor_name: "Altrace" },
      uid: `${record.node}/e${record.ep}/${record.seq}`,
    },
    actor: { user: { uid: agentOf(record), type: "Other", type_id: ACTIVITY_OTHER } },
    api: apiOf(record),
    src_endpoint: { name: agentOf(record) },
    device: { hostname: record.node, type: "Server", type_id: 1 },
    policy: { version: record.pol, ...(hasRule(record) && { uid: record.rule }) },
    unmapped: {
      stage: record.st,
      reason: record.rc,
      ...judgedOf(record),
      ...behalfOf(record, person),
    },
  };
}

/** What a status cannot say: in shadow, after the answer had begun, and under which contract. */
function judgedOf(record: DecisionRecord | FloodRecord) {
  if (record.k === "flood") return {};
  const { dec: decision, ph: phase, c: contract } = record;
  if (contract === undefined) return { decision, phase };
  return { decision, phase, contract: contract.id, root_contract: contract.root };
}

function agentOf(record: AuditRecord): string {
  return "ag" in record && record.ag !== undefined ? record.ag : "unknown";
}

function behalfOf(record: DecisionRecord | FloodRecord, person: string | undefined) {
  const behalf = person ?? ("sp" in record ? record.sp : undefined);
  return behalf === undefined ? {} : { on_behalf_of: behalf };
}

function apiOf(record: DecisionRecord | FloodRecord) {
  if (record.k === "flood") return { operation: "unknown", request: { uid: record.first } };
  const { route, host, model } = record.act;
  return {
    operation: route ?? "unknown",
    request: { uid: record.rid },
    ...(host !== undefined && {
      service: { name: host, ...(model !== undefined && { uid: model }) },
    }),
  };
}

function hasRule(record: AuditRecord): record is DecisionRecord & { readonly rule: string } {
  return record.k === "decision" && record.rule !== undefined;
}
