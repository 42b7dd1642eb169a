import type { DecisionRecord } from "../audit/record.ts";
import type { CompiledPolicy } from "../policy/compiled-policy.ts";
import { stageOf } from "../proto/reasons.ts";
import type { RefusedAtDoor } from "./dataplane/serve-exchange.ts";
import type { LoopContext } from "./loop-context.ts";

/** The record of what was refused before there was an exchange to put to the chain. */
export function doorRecord(
  refused: RefusedAtDoor,
  loop: Pick<LoopContext, "node" | "clock" | "trustVersion">,
  policy: CompiledPolicy | undefined,
): DecisionRecord {
  const stage = stageOf(refused.reason);
  const captured = refused.door === "transparent" ? refused.target : undefined;
  return {
    v: 1,
    k: "decision",
    t: loop.clock.nowMs(),
    node: loop.node,
    rid: refused.requestId,
    ph: "request",
    dec: "deny",
    st: stage,
    // The door asks nothing but what stops it: stages before that one were not reached.
    sv: `${"-".repeat(stage - 1)}D`.padEnd(14, "-"),
    rc: refused.reason,
    act: { door: refused.door, ...(captured !== undefined && { orig: captured }) },
    pol: policy === undefined ? "none" : `sha256:${policy.sha256}`,
    tb: loop.trustVersion(),
  };
}
