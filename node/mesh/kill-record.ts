import type { KillRecord } from "../../audit/record.ts";
import type { MeshRecord } from "../../mesh/record.ts";
import type { EnforcedTimes } from "./enforcement.ts";

const NS_PER_US = 1_000n;

/** The log's record of a kill or revive that this node enforces; undefined for other state. */
export function killRecord(
  record: MeshRecord,
  times: EnforcedTimes,
  now: { readonly t: number; readonly node: string },
): KillRecord | undefined {
  const op = record.op.case;
  if (op !== "kill" && op !== "revive") return undefined;
  return {
    v: 1,
    k: "kill",
    t: now.t,
    node: now.node,
    op,
    scope: record.scope,
    ver: record.v,
    rec: record.hashHex,
    enf_us: Number((times.enforcedNs - times.receivedNs) / NS_PER_US),
  };
}
