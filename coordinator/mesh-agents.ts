import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Clock, monoMs } from "../ports/clock.ts";
import type {
  AgentOnNodeSchema,
  CoordinatorServiceListAgentsRequest,
  MeshAgentSchema,
} from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { Standing } from "../proto/gen/altrace/v1/mesh_pb.ts";
import { parseAgentId, parseScope } from "../proto/ids.ts";
import { budgetUse } from "./account-news.ts";
import { writeAmounts } from "./amounts.ts";
import { CallRefused } from "./call-refusal.ts";
import { eachUnit } from "./ledger-amounts.ts";
import type { LedgerDoor } from "./ledger-door.ts";
import type { Lease } from "./ledger-lease.ts";
import { NO_AMOUNTS } from "./ledger-window.ts";
import type { Registry } from "./registry.ts";
import type { Replica } from "./replica.ts";
import type { KnownReport, Standings } from "./standings.ts";

export type MeshAgentsOptions = {
  readonly clock: Clock;
  readonly ledger: LedgerDoor;
  readonly standings: Standings;
  readonly registry: Registry;
  readonly replica: Replica;
};

const PAGE_SIZE_DEFAULT = 100;
const PAGE_SIZE_MAX = 1_000;
const FILTER_PATTERN = /^[a-z0-9-]{1,63}(\/[a-z0-9-]{1,63})?$/;

/** Agents over all nodes, put together from what the ledger lent, nodes report and operators killed. */
export class MeshAgents {
  readonly #options: MeshAgentsOptions;

  constructor(options: MeshAgentsOptions) {
    this.#options = options;
  }

  /** @throws CallRefused */
  async get(agent: string): Promise<MessageInitShape<typeof MeshAgentSchema>> {
    if (parseAgentId(agent) === undefined) throw malformed("agent", "an agent is named team/agent");
    const leases = await this.#options.ledger.openLeases();
    const isKnown = this.#agentIds(leases).has(agent);
    if (isKnown) return this.#agentOf(agent, leases);
    throw new CallRefused({
      code: "NOT_FOUND",
      reason: "agent_unknown",
      message: `policy gives ${agent} no budget, and no node knows it`,
      field: "agent",
    });
  }

  /** @throws CallRefused */
  async list({ filter, pageSize, pageToken }: CoordinatorServiceListAgentsRequest) {
    if (filter !== "" && !FILTER_PATTERN.test(filter)) {
      throw malformed("filter", "a filter is a team, a team/agent, or empty");
    }
    const leases = await this.#options.ledger.openLeases();
    const ids = [...this.#agentIds(leases)]
      .filter((id) => filter === "" || id === filter || id.startsWith(`${filter}/`))
      .filter((id) => id > pageToken)
      .sort();
    const size = Math.min(pageSize === 0 ? PAGE_SIZE_DEFAULT : pageSize, PAGE_SIZE_MAX);
    const page = ids.slice(0, size);
    const agents = await Promise.all(page.map((id) => this.#agentOf(id, leases)));
    return { agents, nextPageToken: ids.length > size ? (page.at(-1) ?? "") : "" };
  }

  #agentIds(leases: readonly Lease[]): ReadonlySet<string> {
    const { ledger, standings } = this.#options;
    const ids = new Set(standings.agents());
    const accounts = ledger.accountNames();
    for (const account of [...accounts, ...leases.map(({ chain }) => chain[0] as string)]) {
      const scope = parseScope(account);
      if (scope?.kind === "agent") ids.add(`${scope.team}/${scope.agent}`);
    }
    return ids;
  }

  async #agentOf(
    agent: string,
    leases: readonly Lease[],
  ): Promise<MessageInitShape<typeof MeshAgentSchema>> {
    const { clock, ledger, replica, standings } = this.#options;
    const account = `agent/${agent}`;
    const killedBy = replica.state.killsFor(agent).map(({ scope }) => scope);
    const rows = await ledger.rows(account);
    const own = leases.filter(({ chain }) => chain[0] === account);
    return {
      agent,
      standing: killedBy.length > 0 ? Standing.KILL : standsAt(standings.reports(agent)),
      killedBy,
      budget: rows.map((row) => budgetUse(row, clock.nowMs())),
      nodes: this.#nodesOf(own, standings.reports(agent)),
    };
  }

  #nodesOf(
    leases: readonly Lease[],
    reports: readonly KnownReport[],
  ): MessageInitShape<typeof AgentOnNodeSchema>[] {
    const { clock, registry } = this.#options;
    const live = new Set(registry.nodes().flatMap((one) => (one.isLive ? [one.node] : [])));
    const names = new Set([...leases.map(({ node }) => node), ...reports.map(({ node }) => node)]);
    return [...names].sort().map((node) => {
      const held = leases.filter((lease) => lease.node === node);
      const report = reports.find((one) => one.node === node);
      return {
        node,
        live: live.has(node),
        leases: held.length,
        leased: writeAmounts(sumOf(held, "amount")),
        spent: writeAmounts(sumOf(held, "spent")),
        standing: report?.standsAt ?? Standing.NORMAL,
        cause: report?.cause ?? "",
        scoreMilli: BigInt(report?.scoreMilli ?? 0),
        reportedAgoMs: BigInt(report ? Math.round(monoMs(clock) - report.heardMs) : 0),
      };
    });
  }
}

function standsAt(reports: readonly KnownReport[]): Standing {
  return reports.reduce<Standing>(
    (most, one) => (one.standsAt > most ? one.standsAt : most),
    Standing.NORMAL,
  );
}

function sumOf(leases: readonly Lease[], column: "amount" | "spent") {
  return leases.reduce(
    (sum, lease) => eachUnit((unit) => sum[unit] + lease[column][unit]),
    NO_AMOUNTS,
  );
}

function malformed(field: string, message: string): CallRefused {
  return new CallRefused({
    code: "INVALID_ARGUMENT",
    reason: `malformed_${field}`,
    message,
    field,
  });
}
