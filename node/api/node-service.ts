import { RpcError } from "../../adapters/grpc-error.ts";
import type { Handlers } from "../../adapters/grpc-server.ts";
import type { Clock } from "../../ports/clock.ts";
import type { NodeService } from "../../proto/gen/altrace/v1/node_service_pb.ts";
import { parseAgentId } from "../../proto/ids.ts";
import { REASONS, type Reason } from "../../proto/reasons.ts";
import { explainRecords } from "../audit/explain-record.ts";
import { AgentEncodings } from "./agent-encodings.ts";
import { agentMessage, connectionMessage, decisionMessage, holdMessage } from "./agent-message.ts";
import { listStrangers } from "./list-strangers.ts";
import type { NodeView } from "./node-view.ts";
import { standingExplained } from "./standing-message.ts";
import { watchAgents } from "./watch-agents.ts";
import { watchDecisions } from "./watch-decisions.ts";

const PAGE_SIZE_DEFAULT = 100;
const PAGE_SIZE_MAX = 1_000;
const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** What SREs ask a node, answered from what its threads already know. */
export function nodeServiceHandlers(view: NodeView, clock: Clock): Handlers<typeof NodeService> {
  const encodings = new AgentEncodings(view);
  return {
    listAgents: async ({ filter, pageSize, pageToken }) => {
      const ids = agentsMatching(view, checkedFilter(filter));
      const size = Math.min(pageSize === 0 ? PAGE_SIZE_DEFAULT : pageSize, PAGE_SIZE_MAX);
      const from = pageToken === "" ? 0 : firstAfter(ids, pageToken);
      const page = ids.slice(from, from + size);
      const last = page.at(-1);
      const isMore = last !== undefined && from + size < ids.length;
      return encodings.page(page, await view.openByAgent(), isMore ? last : "");
    },
    getAgent: ({ agent }) => getAgent(view, agent),
    watchAgents: ({ filter }, { signal }) => {
      const checked = checkedFilter(filter);
      const idsNow = () => agentsMatching(view, checked);
      return watchAgents({ view, encodings, clock }, { idsNow, signal });
    },
    watchDecisions: (request, context) =>
      watchDecisions(view.feed, request, checkedFilter(request.filter), context),
    explain: async ({ requestId }) => explain(view, requestId),
    listHolds: ({ filter }) => listHolds(view, filter),
    listConnections: async ({ filter }) => {
      const checked = checkedFilter(filter);
      const open = await view.connections();
      const shown = open.filter(({ agentId }) => matches(agentId, checked));
      return { connections: shown.map(connectionMessage) };
    },
    getStanding: async ({ agent }) => {
      checkAgent(agent);
      if (!view.agentIds().includes(agent)) throw unknownAgent(agent);
      return standingExplained(agent, view);
    },
    listStrangers: async (request) => listStrangers(view, request),
    getNode: async () => {
      const [mesh, connections, closedBecause] = await Promise.all([
        view.mesh(),
        view.connections(),
        view.closedBecause(),
      ]);
      const policy = view.policy();
      return {
        node: view.node,
        open: closedBecause.length === 0,
        closedBecause: [...closedBecause],
        digestAgeMs: BigInt(Math.round(mesh.digestAgeMs ?? 0)),
        policySha256: policy?.sha256 ?? "",
        policyVersion: BigInt(policy?.version ?? 0),
        lastSeq: BigInt(mesh.lastSeq),
        stateHash: mesh.stateHash,
        loops: view.loops,
        connections: connections.length,
        version: view.version,
        hasKernelLayer: view.kernelFaults() !== undefined,
        kernelFaults: (view.kernelFaults() ?? []).map((one) => ({ ...one })),
      };
    },
  };
}

async function getAgent(view: NodeView, agent: string) {
  checkAgent(agent);
  if (!view.agentIds().includes(agent)) throw unknownAgent(agent);
  const [connections, holds, open] = await Promise.all([
    view.connections(),
    view.holds(),
    view.openByAgent(),
  ]);
  const isIts = ({ agentId }: { readonly agentId: string }) => agentId === agent;
  return {
    agent: agentMessage(agent, view, open.get(agent)),
    connections: connections.filter(isIts).map(connectionMessage),
    holds: holds.filter(isIts).map((one) => holdMessage(one, view.nowMs())),
    lastDecisions: view.lastDecisions(agent).map(decisionMessage),
  };
}

async function listHolds(view: NodeView, filter: string) {
  const checked = checkedFilter(filter);
  const shown = (await view.holds()).filter(({ agentId }) => matches(agentId, checked));
  const oldestFirst = shown.toSorted((a, b) => b.ageMs - a.ageMs);
  return { holds: oldestFirst.map((one) => holdMessage(one, view.nowMs())) };
}

async function explain(view: NodeView, requestId: string) {
  if (!UUID_PATTERN.test(requestId)) {
    throw new RpcError({
      code: "INVALID_ARGUMENT",
      reason: "malformed_request_id",
      message: "a request id is the UUIDv7 of an x-request-id header",
      field: "request_id",
    });
  }
  const records = await view.recordsOf(requestId);
  if (records.length === 0) {
    throw new RpcError({
      code: "NOT_FOUND",
      reason: "request_unknown",
      message: `the log of node ${view.node} has no record of ${requestId}`,
    });
  }
  const decisions = records.filter((record) => record.k === "decision");
  const last = decisions.at(-1);
  const reason = last?.rc ?? "ok";
  return {
    records: records.map((record) => JSON.stringify(record)),
    rows: (explainRecords(records) ?? []).map(({ no, stage, asks, outcome, reason }) => ({
      no,
      stage,
      asks,
      outcome,
      reason: reason ?? "",
    })),
    allowed: last !== undefined && last.dec !== "deny",
    reason,
    operatorSentence: REASONS[reason as Reason]?.operator ?? "No stage objected.",
  };
}

function agentsMatching(view: NodeView, filter: string): readonly string[] {
  const ids = view.agentIds();
  return filter === "" ? ids : ids.filter((id) => matches(id, filter));
}

function matches(agentId: string, filter: string): boolean {
  return filter === "" || agentId === filter || agentId.startsWith(`${filter}/`);
}

/** The ids are in order, and of ten thousand each page asks. */
function firstAfter(ids: readonly string[], token: string): number {
  let [from, to] = [0, ids.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((ids[middle] as string) > token) to = middle;
    else from = middle + 1;
  }
  return from;
}

function checkedFilter(filter: string): string {
  if (filter === "" || /^[a-z0-9-]{1,63}(\/[a-z0-9-]{1,63})?$/.test(filter)) return filter;
  throw new RpcError({
    code: "INVALID_ARGUMENT",
    reason: "malformed_filter",
    message: "a filter is a team, a team/agent, or empty",
    field: "filter",
  });
}

function checkAgent(agent: string): void {
  if (parseAgentId(agent) !== undefined) return;
  throw new RpcError({
    code: "INVALID_ARGUMENT",
    reason: "malformed_agent",
    message: "an agent is named team/agent",
    field: "agent",
  });
}

function unknownAgent(agent: string): RpcError {
  return new RpcError({
    code: "NOT_FOUND",
    reason: "agent_unknown",
    message: `policy names no agent ${agent}, and it has done nothing here`,
  });
}
