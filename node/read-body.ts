import type { LimitsPolicy } from "../policy/compiled-policy.ts";
import { stageOf } from "../proto/reasons.ts";
import { type AtOnce, andThen } from "./at-once.ts";
import type { Asked } from "./gather.ts";
import type { LoopContext } from "./loop-context.ts";

/** Number of the row that tells a kill. */
const KILL_STAGE = 3;

/**
 * Reads the body of an agent's request whole, within what policy lets it be and lets wait.
 *
 * @returns Undefined: there is none, and why has become a fact.
 */
export function readBody(
  asked: Asked,
  of: { readonly agentId: string; readonly limits: LimitsPolicy },
  { connections }: LoopContext,
): AtOnce<Buffer | undefined> {
  const { agentId, limits } = of;
  if (!connections.startWaiting(agentId, limits.bodiesWaitingMax)) {
    asked.request = { missing: "too_many_waiting" };
    return undefined;
  }
  const bounds = { bytesMax: limits.bodyBytesMax, timeoutMs: limits.bodyTimeoutMs };
  return andThen(asked.exchange.readBody(bounds), (body) => {
    connections.stopWaiting(agentId);
    if (typeof body !== "string") return body;
    // A kill while the body came is stage 3's to tell, and stands even if it is undone by then.
    if (stageOf(body) === KILL_STAGE) asked.unread = body;
    else asked.request = { missing: body };
    return undefined;
  });
}
