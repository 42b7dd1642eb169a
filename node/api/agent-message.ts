import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  AmountsSchema,
  type Standing as StandingEnum,
} from "../../proto/gen/altrace/v1/mesh_pb.ts";
import type {
  AgentStateSchema,
  ConnectionSchema,
  DecisionSchema,
  HoldSchema,
} from "../../proto/gen/altrace/v1/node_service_pb.ts";
import { parseAgentId, scopesOfAgent } from "../../proto/ids.ts";
import { isNothing, NOTHING, plus } from "../actors/account-book.ts";
import { totalScore } from "../actors/cause-scores.ts";
import type { ActorView } from "../actors/seat.ts";
import { stageName } from "../decision/chain.ts";
import { type Cost, STANDINGS, type Standing } from "../decision/facts.ts";
import type { HoldInfo } from "../open-holds.ts";
import type { AgentEvent, AgentOpen, ConnectionInfo } from "../thread-messages.ts";
import type { NodeView } from "./node-view.ts";

/** An agent as operators see it; one that did nothing here yet stands at normal. */
export function agentMessage(
  agentId: string,
  view: NodeView,
  open?: AgentOpen,
): MessageInitShape<typeof AgentStateSchema> {
  const actor = view.actor(agentId);
  const killedBy = killsOf(agentId, view);
  const standing: Standing =
    killedBy.length > 0 ? "kill" : (actor?.state.ladder.standing ?? "normal");
  const book = actor?.state.book;
  const leased = (book?.leases ?? []).reduce((sum, lease) => plus(sum, lease.amount), NOTHING);
  return {
    agent: agentId,
    standing: standingMessage(standing),
    standingCause: actor?.state.ladder.cause ?? "none",
    scoreMilli: BigInt(scoreOf(actor, view)),
    killed: killedBy.length > 0,
    killedBy,
    leased: amounts(leased),
    spent: amounts(book?.spent),
    available: amounts(actor?.balance),
    allowed: BigInt(actor?.state.allowed ?? 0),
    refused: BigInt(actor?.state.refused ?? 0),
    active: actor !== undefined,
    openConnections: open?.exchanges ?? 0,
    openStreams: open?.streams ?? 0,
    held: amounts(open?.held),
  };
}

/** Of ten thousand agents most have nothing, and all of them may share that message. */
const NO_AMOUNTS = create(AmountsSchema);

function amounts(cost: Cost = NOTHING): MessageInitShape<typeof AmountsSchema> {
  return isNothing(cost) ? NO_AMOUNTS : cost;
}

/** The killed scopes that cover an agent. */
export function killsOf(agentId: string, view: NodeView): string[] {
  const killed = view.killed();
  if (killed.size === 0) return [];
  const id = parseAgentId(agentId);
  const scopes = id === undefined ? [] : scopesOfAgent(id);
  return scopes.filter((scope) => killed.has(scope));
}

function scoreOf(actor: ActorView | undefined, view: NodeView): number {
  const policy = view.ladder();
  if (actor === undefined || policy === undefined) return 0;
  return totalScore(actor.state.ladder.scores, policy, view.nowMs());
}

export function connectionMessage(one: ConnectionInfo): MessageInitShape<typeof ConnectionSchema> {
  return {
    id: one.id,
    agent: one.agentId,
    door: one.door,
    peer: one.peer,
    requestId: one.requestId,
    streaming: one.streaming,
    ageMs: BigInt(Math.round(one.ageMs)),
    bytesUp: BigInt(one.bytesUp),
    bytesDown: BigInt(one.bytesDown),
  };
}

/** @param nowMs Wall clock of this node. */
export function holdMessage(one: HoldInfo, nowMs: number): MessageInitShape<typeof HoldSchema> {
  return {
    requestId: one.requestId,
    agent: one.agentId,
    model: one.model,
    amount: one.amount,
    overrunUsdMicros: one.overrunMicros,
    ageMs: BigInt(one.ageMs),
    startedAtMs: BigInt(nowMs - one.ageMs),
    deadlineMs: BigInt(nowMs + one.leftMs),
  };
}

export function decisionMessage(event: AgentEvent): MessageInitShape<typeof DecisionSchema> {
  return {
    requestId: event.requestId,
    atMs: BigInt(event.atMs),
    allowed: event.allowed,
    stage: event.stage === 0 ? "none" : stageName(event.stage),
    reason: event.reason,
  };
}

/** Levels on the wire begin at 1, where 0 says nothing. */
export function standingMessage(standing: Standing): StandingEnum {
  return (STANDINGS.indexOf(standing) + 1) as StandingEnum;
}
