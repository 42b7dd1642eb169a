import type { AuditRecord, DecisionRecord } from "../../audit/record.ts";
import { REASONS, type Reason } from "../../proto/reasons.ts";
import { CHAIN } from "../decision/chain.ts";

/** What one stage said of a request. */
export type ExplainedRow = {
  /** 1..14. */
  readonly no: number;
  readonly stage: string;
  /** The question that the stage answers. */
  readonly asks: string;
  readonly outcome: "pass" | "refused" | "would refuse" | "not reached" | "not applicable";
  /** Name of the reason, for the stage that objected. */
  readonly reason?: string;
  /** The reason in a sentence, for whoever runs the node. */
  readonly says?: string;
  readonly rule?: string;
  /** The answer had begun when the stage objected, and was cut. */
  readonly cut?: true;
};

const OUTCOMES: Readonly<Record<string, ExplainedRow["outcome"]>> = {
  P: "pass",
  D: "refused",
  S: "not applicable",
  "-": "not reached",
};

/**
 * The 14 rows of one request, from its records in any order.
 *
 * A stage in shadow that objected reads "would refuse"; the record keeps the reason of the first
 * one only. A refusal that came while the answer was running replaces its stage's row.
 *
 * @returns `undefined`: no record among them is a decision on the request.
 */
export function explainRecords(
  records: readonly AuditRecord[],
): readonly ExplainedRow[] | undefined {
  const decisions = records.filter((record) => record.k === "decision");
  const decision = decisions.find(({ ph }) => ph === "request") ?? decisions[0];
  if (decision === undefined) return undefined;
  const later = decisions.filter(({ ph }) => ph === "response");
  return CHAIN.map(({ no, name, asks }) => {
    const row = { no, stage: name, asks };
    const said = later.find(({ st }) => st === no);
    if (said?.dec === "deny")
      return { ...row, outcome: "refused", ...objectionOf(said), cut: true };
    if (said !== undefined) return { ...row, outcome: "would refuse", ...objectionOf(said) };
    return { ...row, ...answerOf(decision, no) };
  });
}

function answerOf(
  decision: DecisionRecord,
  no: number,
): Pick<ExplainedRow, "outcome" | "reason" | "says" | "rule"> {
  const outcome = OUTCOMES[decision.sv[no - 1] ?? "-"] ?? "not reached";
  if (outcome !== "refused") return { outcome };
  const isFinal = decision.dec === "deny" && decision.st === no;
  const objection = decision.st === no ? objectionOf(decision) : {};
  return { outcome: isFinal ? "refused" : "would refuse", ...objection };
}

function objectionOf({ rc, rule }: DecisionRecord) {
  const says = Object.hasOwn(REASONS, rc) ? REASONS[rc as Reason].operator : undefined;
  return {
    reason: rc,
    ...(says !== undefined && { says }),
    ...(rule !== undefined && { rule }),
  };
}
