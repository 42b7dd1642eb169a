import { type Clock, monoMs } from "../ports/clock.ts";
import { Standing } from "../proto/gen/altrace/v1/mesh_pb.ts";

/** Agents whose standing is kept at once. Beyond it the mildest news is not kept. */
export const STANDINGS_MAX = 100_000;
/** Nodes repeat what is grave every few seconds; what nobody repeats for so long is over. */
export const REPORT_TTL_MS = 30_000;

/** Where one node's own view puts an agent. */
export type StandingReport = {
  /** By its offences there. */
  readonly standing: Standing;
  /** All things considered, other nodes' word included: it says nothing to other nodes. */
  readonly standsAt: Standing;
  /** Snake-case cause of it. */
  readonly cause: string;
  /** Thousandths. */
  readonly scoreMilli: number;
};

/** The same, and when it was said. */
export type KnownReport = StandingReport & {
  readonly node: string;
  /** Monotonic ms. */
  readonly heardMs: number;
};

/**
 * Where each node puts an agent, so that trouble on one node is known on all.
 *
 * In memory alone: no bound rests on it, and nodes report again.
 */
export class Standings {
  readonly #clock: Clock;
  readonly #byAgent = new Map<string, Map<string, KnownReport>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Keeps what a node says of an agent. */
  report(agent: string, node: string, report: StandingReport): void {
    const known = this.#byAgent.get(agent) ?? new Map<string, KnownReport>();
    if (Math.max(report.standing, report.standsAt) <= Standing.NORMAL) known.delete(node);
    else if (this.#byAgent.has(agent) || this.#hasRoom()) {
      known.set(node, { ...report, node, heardMs: monoMs(this.#clock) });
      this.#byAgent.set(agent, known);
    }
    if (known.size === 0) this.#byAgent.delete(agent);
  }

  /**
   * The highest standing that is reported; NORMAL when nobody says anything.
   *
   * @param except A node whose own word is left out: it is told what the others say.
   */
  highest(agent: string, { except }: { readonly except?: string } = {}): Standing {
    let highest: Standing = Standing.NORMAL;
    for (const { node, standing } of this.reports(agent)) {
      if (node !== except && standing > highest) highest = standing;
    }
    return highest;
  }

  /** What nodes say of an agent, by node. */
  reports(agent: string): readonly KnownReport[] {
    const reports = this.#byAgent.get(agent);
    if (reports === undefined) return [];
    const sinceMs = monoMs(this.#clock) - REPORT_TTL_MS;
    for (const [node, { heardMs }] of reports) if (heardMs < sinceMs) reports.delete(node);
    if (reports.size === 0) this.#byAgent.delete(agent);
    return [...reports.values()].sort((left, right) => (left.node < right.node ? -1 : 1));
  }

  /** Agents of which something is reported. */
  agents(): Iterable<string> {
    return this.#byAgent.keys();
  }

  /** An operator revived the agent: what was reported before counts no more. */
  forgetAgent(agent: string): void {
    this.#byAgent.delete(agent);
  }

  /** A node is removed: what it said counts no more. */
  forgetNode(node: string): void {
    for (const [agent, reports] of this.#byAgent) {
      reports.delete(node);
      if (reports.size === 0) this.#byAgent.delete(agent);
    }
  }

  /** Looks once for what is over before it refuses to keep more. */
  #hasRoom(): boolean {
    if (this.#byAgent.size < STANDINGS_MAX) return true;
    for (const agent of [...this.#byAgent.keys()]) this.reports(agent);
    return this.#byAgent.size < STANDINGS_MAX;
  }
}
