import type { Reason } from "../../proto/reasons.ts";
import type { BucketCharge } from "./bucket-charge.ts";
import type { Cost, Missing } from "./facts.ts";

/** The first objection of the chain. */
export type Refusal = {
  readonly reason: Reason;
  /** Id of the deciding rule in policy, where one decided. */
  readonly rule?: string;
  /** For the agent's developer, after the reason's own sentence: names and limits, never content. */
  readonly detail?: string;
  /** When asking again makes sense, milliseconds. Present for what is `later` and known. */
  readonly retryAfterMs?: number;
  /** Asking again is of no use, though the reason is one of those that pass. */
  readonly isFinal?: true;
  /** A signed contract objects, and no shadow of policy's turns that into a mere remark. */
  readonly isBinding?: true;
};

/** The refusal that a missing fact amounts to. */
export function asRefusal(fact: Missing): Refusal {
  const { missing: reason, detail } = fact;
  return detail === undefined ? { reason } : { reason, detail };
}

/** The refusal of a signed contract. */
export function byContract(reason: Reason, detail?: string): Refusal {
  const said = detail === undefined ? "by its contract" : `${detail}, by its contract`;
  return { reason, detail: said, isBinding: true };
}

/** What a row says of one request. */
export type RowOutcome = "pass" | "not_applicable" | Refusal;

/** What `commit` reserves in one step. */
export type Charges = {
  readonly cost: Cost;
  readonly overrunMicros: bigint;
  /** At most one a metric of what is lent and of the row's own; throttle and shares are in the numbers. */
  readonly buckets: readonly BucketCharge[];
};

/** The chain's answer. Pure data: nothing has been reserved or written. */
export type Verdict = {
  /** `undefined`: allowed. */
  readonly refusal: (Refusal & { readonly stage: number }) | undefined;
  /** 14 characters, one a stage: P passed, D objected, S not applicable, - not reached. */
  readonly stages: string;
  /** Refusals of stages in shadow: recorded, not enforced. */
  readonly wouldRefuse: readonly (Refusal & { readonly stage: number })[];
  /** Empty unless allowed. */
  readonly charges: Charges;
};
