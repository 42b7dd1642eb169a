import type { Outcome as RelayOutcome } from "./dataplane/client-leg.ts";
import { isMissing } from "./decision/facts.ts";
import type { Asked } from "./gather.ts";
import type { LoopContext } from "./loop-context.ts";
import type { Allowed } from "./relay-and-settle.ts";
import { settleRequest } from "./settle-request.ts";

/**
 * Names the request as owner of its hold, for as long as it may take and a little more.
 *
 * @param opensMs Before that begins, milliseconds: a session's time does when the far side has agreed to it.
 */
export function openHold(
  asked: Asked,
  allowed: Allowed,
  loop: LoopContext,
  opensMs = 0,
): () => boolean {
  const { facts, permit, reserved } = allowed;
  const { policy, model, requestId } = facts;
  return loop.holds.open({
    requestId,
    agentId: asked.row?.agentId ?? "",
    model: model === undefined || isMissing(model) ? "" : model.id,
    amount: reserved.taken,
    overrunMicros: reserved.charges.overrunMicros,
    lastsMs: opensMs + (policy?.limits.totalTimeoutMs ?? 0),
    onOverdue: () => {
      loop.metrics.holdOverdue();
      settleRequest(asked, allowed, brokenOff(!permit.revoke()), loop);
    },
  });
}

/** The outcome of what ended by a bug of ours, or was given up. */
export function brokenOff(sent: boolean): RelayOutcome {
  return {
    kind: "cut",
    reason: "stage_failed",
    rule: undefined,
    usage: undefined,
    outputTextBytes: 0,
    scannedBytes: 0,
    hits: [],
    status: 0,
    sent,
  };
}
