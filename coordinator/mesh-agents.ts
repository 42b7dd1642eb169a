import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Clock, monoMs } from "../ports/clock.ts";
import type {
  AgentOnNodeSchema,
  CoordinatorServiceListAgentsRequest,
  MeshAgentSchema,
} from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import { Standing } from "../proto/gen/altrace/v1/mesh_pb.ts";
import { parseAgentId } from "../proto/ids.ts";
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

const AGENT_PREFIX = "agent/";
const PAGE_SIZE_DEFAULT = 100;
const PAGE_SIZE_MAX = 1_000;
const FILTER_PATTERN = /^[a-z0-9-]{1,63}(\/[a-z0-9-]{1,63})?$/;

/** Agents over all nodes, put together from what the ledger lent, nodes report and operators killed. */
export class MeshAgents {
  readonly #options: MeshAgentsOptions;
  #ordered: { readonly names: readonly string[]; readonly ids: readonly string[] } | undefined;

  constructor(options: MeshAgentsOptions) {
    this.#options = options;
  }

  /** @throws CallRefused */
  async get(agent: string): Promise<MessageInitShape<typeof MeshAgentSchema>> {
    if (parseAgentId(agent) === undefined) throw malformed("agent", "an agent is named team/agent");
    const leases = byAccount(await this.#options.ledger.openLeases());
    const ids = this.#ids(leases);
    const isKnown = ids.inPolicy.at(firstAfter(ids.inPolicy, agent) - 1) === agent;
    if (isKnown || ids.others.has(agent)) return this.#agentOf(agent, leases);
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
    const leases = byAccount(await this.#options.ledger.openLeases());
    const { inPolicy, others } = this.#ids(leases);
    const isAsked = (id: string) =>
      id > pageToken && (filter === "" || id === filter || id.startsWith(`${filter}/`));
    const size = Math.min(pageSize === 0 ? PAGE_SIZE_DEFAULT : pageSize, PAGE_SIZE_MAX);
    // One more than the page, to know whether there is another.
    const ids: string[] = [];
    for (let at = firstAfter(inPolicy, pageToken); at < inPolicy.length; at += 1) {
      const id = inPolicy[at] as string;
      if (isAsked(id)) ids.push(id);
      if (ids.length > size) break;
    }
    for (const id of others) if (isAsked(id)) ids.push(id);
    ids.sort();
    const page = ids.slice(0, size);
    const agents = await Promise.all(page.map((id) => this.#agentOf(id, leases)));
    return { agents, nextPageToken: ids.length > size ? (page.at(-1) ?? "") : "" };
  }

  /** Agents of the policy in order, put in order once for each policy, and all others that are known. */
  #ids(leases: LeasesByAccount): {
    readonly inPolicy: readonly string[];
    readonly others: ReadonlySet<string>;
  } {
    const { ledger, standings } = this.#options;
    const names = ledger.accountNames();
    if (this.#ordered?.names !== names) {
      this.#ordered = { names, ids: names.flatMap((account) => agentOf(account) ?? []).sort() };
    }
    const inPolicy = this.#ordered.ids;
    const isOther = (id: string) => inPolicy.at(firstAfter(inPolicy, id) - 1) !== id;
    const known = [
      ...standings.agents(),
      ...[...leases.keys()].flatMap((one) => agentOf(one) ?? []),
    ];
    return { inPolicy, others: new Set(known.filter(isOther)) };
  }

  async #agentOf(
    agent: string,
    leases: LeasesByAccount,
  ): Promise<MessageInitShape<typeof MeshAgentSchema>> {
    const { clock, ledger, replica, standings } = this.#options;
    const account = `agent/${agent}`;
    const killedBy = replica.state.killsFor(agent).map(({ scope }) => scope);
    const rows = await ledger.rows(account);
    const own = leases.get(account) ?? [];
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

type LeasesByAccount = ReadonlyMap<string, readonly Lease[]>;

function byAccount(leases: readonly Lease[]): LeasesByAccount {
  const grouped = new Map<string, Lease[]>();
  for (const lease of leases) {
    const account = lease.chain[0] as string;
    const others = grouped.get(account);
    if (others) others.push(lease);
    else grouped.set(account, [lease]);
  }
  return grouped;
}

/** `team/agent` of an agent's account. */
function agentOf(account: string): string | undefined {
  return account.startsWith(AGENT_PREFIX) ? account.slice(AGENT_PREFIX.length) : undefined;
}

/** Index of the first of `ordered` that is greater than `id`. */
function firstAfter(ordered: readonly string[], id: string): number {
  let low = 0;
  let high = ordered.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ordered[middle] as string) <= id) low = middle + 1;
    else high = middle;
  }
  return low;
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
