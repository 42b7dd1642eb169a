import { Standing } from "../proto/gen/altrace/v1/mesh_pb.ts";

/** Agents whose standing is kept at once. Beyond it the mildest news is not kept. */
export const STANDINGS_MAX = 100_000;

/**
 * The highest standing that any node reports of an agent, so that trouble on one node is known on all.
 *
 * In memory alone: no bound rests on it, and nodes report again.
 */
export class Standings {
  readonly #byAgent = new Map<string, Map<string, Standing>>();

  /** Keeps what a node says of an agent, and returns the highest that any node says. */
  report(agent: string, node: string, standing: Standing): Standing {
    const known = this.#byAgent.get(agent);
    if (known) known.set(node, standing);
    else if (standing > Standing.NORMAL && this.#byAgent.size < STANDINGS_MAX) {
      this.#byAgent.set(agent, new Map([[node, standing]]));
    }
    const highest = this.highest(agent);
    if (highest <= Standing.NORMAL) this.#byAgent.delete(agent);
    return higher(highest, standing);
  }

  /** The highest standing reported; NORMAL when nobody said anything. */
  highest(agent: string): Standing {
    const reports = [...(this.#byAgent.get(agent)?.values() ?? [])];
    return reports.reduce(higher, Standing.NORMAL);
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
}

function higher(left: Standing, right: Standing): Standing {
  return left > right ? left : right;
}
