import { RpcError } from "../../adapters/grpc-error.ts";
import type { CallContext } from "../../adapters/grpc-server.ts";
import type { WatchDecisionsRequest } from "../../proto/gen/altrace/v1/node_service_pb.ts";
import { REASONS } from "../../proto/reasons.ts";
import { type DecisionFeed, type DecisionFilter, REFUSALS_KEPT_MAX } from "../decision-feed.ts";
import type { AgentEvent } from "../thread-messages.ts";
import { decisionMessage } from "./agent-message.ts";

/** Sends the latest refusals that match, then, unless the caller wants no more, each decision as it is made. */
export async function* watchDecisions(
  feed: DecisionFeed,
  request: WatchDecisionsRequest,
  filter: string,
  context: CallContext,
) {
  const wanted = wantedBy(request, filter);
  // Before what is recent is read, so that nothing falls between the two.
  const live = request.recentOnly ? undefined : feed.watch(wanted, context.signal);
  if (live === undefined && !request.recentOnly) {
    throw new RpcError({
      code: "RESOURCE_EXHAUSTED",
      reason: "too_many_watchers",
      message: "too many callers watch the decisions of this node",
    });
  }
  for (const event of feed.recent(wanted, Math.min(request.recent, REFUSALS_KEPT_MAX))) {
    yield messageOf(event, event.more ?? 0);
  }
  if (live === undefined) return;
  for await (const { event, missed } of live) yield messageOf(event, missed);
}

function wantedBy(request: WatchDecisionsRequest, filter: string): DecisionFilter {
  const { refusedOnly, stage } = request;
  const reasons = new Set(request.reasons);
  for (const reason of reasons) {
    if (Object.hasOwn(REASONS, reason) || reason === "ok") continue;
    throw new RpcError({
      code: "INVALID_ARGUMENT",
      reason: "unknown_reason",
      message: `${reason.slice(0, 64)} is not in the registry of reasons`,
      field: "reasons",
    });
  }
  return (event: AgentEvent) =>
    (filter === "" || event.agentId === filter || event.agentId.startsWith(`${filter}/`)) &&
    (!refusedOnly || !event.allowed) &&
    (stage === 0 || event.stage === stage) &&
    (reasons.size === 0 || reasons.has(event.reason));
}

function messageOf(event: AgentEvent, missed: number) {
  return { agent: event.agentId, decision: decisionMessage(event), missed: BigInt(missed) };
}
