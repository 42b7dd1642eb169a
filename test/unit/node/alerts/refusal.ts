import type { AgentEvent } from "../../../../node/thread-messages.ts";

/** A refusal as loops tell of it. */
export function refusal(atMs: number, over: Partial<AgentEvent> = {}): AgentEvent {
  return {
    agentId: "research/worker-1",
    requestId: `request-${atMs}`,
    atMs,
    allowed: false,
    stage: 9,
    reason: "model_not_granted",
    standing: "normal",
    cause: "refusal",
    ...over,
  };
}
