import type { Clock } from "../../ports/clock.ts";
import { parseScope } from "../../proto/ids.ts";
import type { Cost, KilledBy } from "../decision/facts.ts";
import { type Link, OpenList } from "../open-list.ts";
import type { AgentOpen, ConnectionInfo, CutScope } from "../thread-messages.ts";
import type { Cut } from "./exchange.ts";
import { type CutResult, type CutTarget, Teardown } from "./teardown.ts";

/**
 * Agents that stay filed while they have nothing open, so that an agent that asks one thing after
 * another is not filed anew each time.
 */
const GROUPS_KEPT_MAX = 4_096;

/** Exchanges that one list names at most; a list is copied between threads in one turn. */
export const LISTED_MAX = 1_000;

/** Levels of the ladder that end something that is open. A kill is a scope's. */
export type CuttingLevel = "quarantine" | "block";

/** What the registry needs of an exchange. */
export type OpenExchange = CutTarget & {
  readonly requestId: string;
  /** Where the registry has it; the registry's alone. A map of exchanges would cost each of them more. */
  filed?: Link<Filed> | undefined;
  /** False once it was refused: nothing flows but what the client sends and nobody reads. */
  isOpen(): boolean;
  /** Whether other exchanges run within it: each of them is registered, and itself it has nothing under way. */
  isCarrier?(): boolean;
  /** When its client was taken in, monotonic ns; undefined once it has said what it wants. */
  arrivingSinceNs?(): bigint | undefined;
  /** Since when its client may say its first word, monotonic ns; undefined: it has, or it is not its turn. */
  silentSinceNs?(): bigint | undefined;
  /** When it last carried something unread, either way, monotonic ns, 0: never. Undefined: it carries nothing so. */
  lastCarried?(): { readonly upNs: bigint; readonly downNs: bigint } | undefined;
  /** Whether it may not go on once its agent has come to this level of the ladder. */
  endsAt(level: CuttingLevel): boolean;
  info(nowNs: bigint): ConnectionInfo;
};

type AgentGroup = {
  readonly agentId: string;
  readonly exchanges: OpenList<OpenExchange>;
  waitingBodies: number;
};

/** What the registry knows of an exchange. */
export type Filed = {
  readonly exchange: OpenExchange;
  membership: Membership | undefined;
};

type Membership = {
  readonly group: AgentGroup;
  readonly link: Link<OpenExchange>;
  readonly contractId: string | undefined;
};

export type ConnectionsOptions = {
  readonly clock: Clock;
  /** A bug in the code that serves one exchange, found while it was being cut. */
  readonly onFault: (error: unknown) => void;
};

/**
 * The open exchanges of one loop, found by what a kill names.
 *
 * R1. An exchange is registered before anything about it is checked.
 * R2. `claim` files it under its agent, team and contract. Whoever claims reads the scope cells
 *     *after* that, never before: a cell that was stored earlier is then seen, and a cut that comes
 *     later finds the exchange. There is no third moment.
 * R3. A cut takes a snapshot. What is registered after it is refused by the cells.
 */
export class Connections {
  readonly #all = new OpenList<Filed>();
  readonly #agents = new Map<string, AgentGroup>();
  readonly #teams = new Map<string, Set<AgentGroup>>();
  readonly #teardown: Teardown;

  constructor(options: ConnectionsOptions) {
    this.#teardown = new Teardown(options);
  }

  register(exchange: OpenExchange): void {
    exchange.filed = this.#all.add({ exchange, membership: undefined });
  }

  /** Does nothing for an exchange that is closed or claimed already: its client may be gone. */
  claim(exchange: OpenExchange, agentId: string, contractId: string | undefined): void {
    const filed = exchange.filed?.item;
    if (filed === undefined || filed.membership !== undefined) return;
    const group = this.#groupOf(agentId);
    filed.membership = { group, link: group.exchanges.add(exchange), contractId };
  }

  /** The exchange is over and its connection closed or free for the next request. */
  remove(exchange: OpenExchange): void {
    const link = exchange.filed;
    if (link === undefined) return;
    exchange.filed = undefined;
    this.#all.remove(link);
    const { membership } = link.item;
    if (membership !== undefined) {
      const { group } = membership;
      group.exchanges.remove(membership.link);
      this.#dropIfEmpty(group);
    }
    this.#teardown.closed(exchange);
  }

  /** Exchanges that are registered, claimed or not. */
  count(): number {
    return this.#all.size;
  }

  /** The same, the longest open first. */
  open(): readonly OpenExchange[] {
    return Array.from(this.#all, ({ exchange }) => exchange);
  }

  /** Exchanges that an agent holds now, the asking one included. */
  countOf(agentId: string): number {
    return this.#agents.get(agentId)?.exchanges.size ?? 0;
  }

  /** Bodies of an agent that are being read now. */
  waitingBodies(agentId: string): number {
    return this.#agents.get(agentId)?.waitingBodies ?? 0;
  }

  /** Takes one of the agent's places for reading a body; false when all `max` are taken. */
  startWaiting(agentId: string, max: number): boolean {
    if (this.waitingBodies(agentId) >= max) return false;
    this.#groupOf(agentId).waitingBodies++;
    return true;
  }

  /** Gives the place back, once for each `startWaiting` that was true. */
  stopWaiting(agentId: string): void {
    const group = this.#agents.get(agentId);
    if (group === undefined || group.waitingBodies === 0) return;
    group.waitingBodies--;
    this.#dropIfEmpty(group);
  }

  /** The longest open first, at most `LISTED_MAX`. */
  list(nowNs: bigint): ConnectionInfo[] {
    const infos: ConnectionInfo[] = [];
    for (const { exchange } of this.#all) {
      if (infos.length === LISTED_MAX) break;
      infos.push(exchange.info(nowNs));
    }
    return infos;
  }

  /** What each agent has open. Counts all of it, where a list names some. */
  byAgent(nowNs: bigint): AgentOpen[] {
    const open: AgentOpen[] = [];
    for (const { agentId, exchanges } of this.#agents.values()) {
      if (exchanges.size === 0) continue;
      let streams = 0;
      let held: Cost = { usdMicros: 0n, tokens: 0n, calls: 0n };
      for (const exchange of exchanges) {
        const info = exchange.info(nowNs);
        if (info.streaming) streams += 1;
        if (info.held !== undefined) held = sumOf(held, info.held);
      }
      open.push({ agentId, exchanges: exchanges.size, streams, held });
    }
    return open;
  }

  /**
   * Cuts what a killed scope covers. An exchange of which nobody knows yet whose it is falls under
   * `global` alone; for the others see R2.
   *
   * @param isGated The kernel has the kill as well; see `Cut`.
   * @param contracts Ids of those that the scope covers; among them the one that it is.
   */
  async cutScope(
    by: KilledBy,
    scopeText: string,
    of: { readonly isGated?: boolean; readonly contracts?: readonly string[] } = {},
  ): Promise<CutResult> {
    const { isGated = false, contracts = [] } = of;
    const own = this.#cutAll(this.#covered(scopeText, contracts), by, isGated);
    if (by === "contract" || contracts.length === 0) return own;
    // The kernel has the killed agent's addresses, not those of whom it delegated to.
    const below = this.#cutAll(this.#under(new Set(contracts)), "contract", false);
    const [one, other] = await Promise.all([own, below]);
    const isLater = other.lastClosedNs > one.lastClosedNs;
    const { lastClosedNs } = isLater ? other : one;
    return { count: one.count + other.count, lastClosedNs };
  }

  /** The same, as the mesh thread says it. */
  cutKilled({ by, scope, ...of }: CutScope): Promise<CutResult> {
    return this.cutScope(by, scope, of);
  }

  #cutAll(covered: readonly OpenExchange[], by: KilledBy, isGated: boolean): Promise<CutResult> {
    const open = covered.filter(isOpen);
    // A connection that is reset at once takes the requests within along: they are told before.
    const inside = open.filter((one) => !one.isCarrier?.());
    const targets = isGated ? [...inside, ...open.filter((one) => one.isCarrier?.())] : open;
    return this.#teardown.cut(targets, isGated ? { by, isGated } : { by });
  }

  /** Cuts what an agent may not go on with at the level that it has come to. */
  cutAtLevel(agentId: string, level: CuttingLevel): Promise<CutResult> {
    const open = [...(this.#agents.get(agentId)?.exchanges ?? [])].filter(isOpen);
    const reason = level === "block" ? "blocked" : "quarantined";
    return this.#teardown.cut(
      open.filter((exchange) => exchange.endsAt(level)),
      { by: "reason", reason },
    );
  }

  /** Cuts everything that is open, for a reason of the node's own. */
  closeAll(cut: Cut): Promise<CutResult> {
    return this.#teardown.cut(this.open().filter(isOpen), cut);
  }

  /** For an exchange that was cut by its own relay: closed within the flush time, or reset. */
  expectClose(exchange: OpenExchange): void {
    this.#teardown.expectClose(exchange);
  }

  #covered(scopeText: string, contracts: readonly string[]): OpenExchange[] {
    const scope = parseScope(scopeText);
    switch (scope?.kind) {
      case "global":
        return [...this.open()];
      case "team":
        return [...(this.#teams.get(scope.team) ?? [])].flatMap((group) => [...group.exchanges]);
      case "agent":
        return [...(this.#agents.get(`${scope.team}/${scope.agent}`)?.exchanges ?? [])];
      case "contract":
        return this.#under(new Set([scope.id, ...contracts]));
      default:
        throw new Error(`not a scope that can be cut: ${scopeText}`);
    }
  }

  /**
   * Revocations are rare: what they cover is searched for, and requests pay nothing for it. Once for all
   * contracts, of which an agent may have thousands below its own.
   */
  #under(contracts: ReadonlySet<string>): OpenExchange[] {
    const covered: OpenExchange[] = [];
    for (const { exchange, membership } of this.#all) {
      const id = membership?.contractId;
      if (id !== undefined && contracts.has(id)) covered.push(exchange);
    }
    return covered;
  }

  #groupOf(agentId: string): AgentGroup {
    let group = this.#agents.get(agentId);
    if (group === undefined) {
      group = { agentId, exchanges: new OpenList(), waitingBodies: 0 };
      this.#agents.set(agentId, group);
      const groups = this.#teams.get(teamOf(agentId));
      if (groups === undefined) this.#teams.set(teamOf(agentId), new Set([group]));
      else groups.add(group);
    }
    return group;
  }

  #dropIfEmpty(group: AgentGroup): void {
    if (group.exchanges.size > 0 || group.waitingBodies > 0) return;
    if (this.#agents.size <= GROUPS_KEPT_MAX) return;
    this.#agents.delete(group.agentId);
    const team = teamOf(group.agentId);
    const groups = this.#teams.get(team);
    groups?.delete(group);
    if (groups?.size === 0) this.#teams.delete(team);
  }
}

export function createConnections(options: ConnectionsOptions): Connections {
  return new Connections(options);
}

function sumOf(left: Cost, right: Cost): Cost {
  return {
    usdMicros: left.usdMicros + right.usdMicros,
    tokens: left.tokens + right.tokens,
    calls: left.calls + right.calls,
  };
}

function isOpen(exchange: OpenExchange): boolean {
  return exchange.isOpen();
}

function teamOf(agentId: string): string {
  return agentId.slice(0, agentId.indexOf("/"));
}
