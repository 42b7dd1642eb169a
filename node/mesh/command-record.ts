import type { CommandOp } from "../../audit/command-op.ts";
import { type CommandRecord, recordable } from "../../audit/record.ts";
import { recordableWords } from "../../audit/recordable-words.ts";
import { distrustOf } from "../../mesh/distrust-of.ts";
import type { MeshRecord } from "../../mesh/record.ts";
import { OPERATOR_BYTES_MAX } from "../../mesh/record-op.ts";

/**
 * The log's record of an order that has come into force on this node; undefined for what nobody ordered, such
 * as a price that bills made dearer.
 */
export function commandRecord(
  record: MeshRecord,
  now: { readonly t: number; readonly node: string },
): CommandRecord | undefined {
  const op = commandOp(record);
  if (op === undefined || record.kids.length === 0) return undefined;
  const { operator } = record;
  const { reason, cause } = wordsOf(record);
  return {
    v: 1,
    k: "command",
    t: now.t,
    node: now.node,
    op,
    scope: record.scope,
    ver: record.v,
    rec: record.hashHex,
    cmd: record.cmdId,
    at: record.issuedAtMs,
    by: record.kids,
    ...(operator !== "" && { who: recordable(operator, OPERATOR_BYTES_MAX) }),
    ...(reason !== "" && { why: recordableWords(reason) }),
    ...(cause !== "" && { cause }),
  };
}

function commandOp({ parsed, op }: MeshRecord): CommandOp | undefined {
  if (parsed.kind === "distrust" && !beginsEra(op)) return undefined;
  if (parsed.kind !== "key" && parsed.kind !== "node") return op.case === "key" ? "add" : op.case;
  return op.case === "kill" ? "remove" : "add";
}

/** Within an era coordinators raise it by themselves, for a node whose own record tells of the bill. */
function beginsEra(op: MeshRecord["op"]): boolean {
  const { era = 0n, since = "" } = distrustOf(op) ?? {};
  return era > 0n && since.length === 0;
}

function wordsOf({ op }: MeshRecord): { readonly reason: string; readonly cause: string } {
  switch (op.case) {
    case "kill":
      return { reason: op.value.reason, cause: op.value.cause };
    case "revive":
    case "redact":
      return { reason: op.value.reason, cause: "" };
    default:
      return { reason: "", cause: "" };
  }
}
