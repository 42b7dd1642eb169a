import type { CompiledPolicy } from "../policy/compiled-policy.ts";
import type { SeatMap } from "./actors/seat-map.ts";

const AGENT_PREFIX = "agent/";

export type AgentIdsDeps = {
  readonly policy: () => CompiledPolicy | undefined;
  /** Accounts with an actor in memory. */
  readonly accounts: Pick<SeatMap, "follow">;
};

/**
 * Ids of all agents that policy names or that did something here, in order.
 *
 * Pages of a list of ten thousand are asked for one after the other, on the thread that also lends
 * money: which of its accounts policy does not name is known from their coming and going, and the
 * whole is put in order only when it is another than before.
 */
export class AgentIds {
  readonly #policyNow: AgentIdsDeps["policy"];
  readonly #here = new Set<string>();
  /** Those of them that policy does not name. */
  readonly #others = new Set<string>();
  #policy: CompiledPolicy | undefined;
  #named: readonly string[] = [];
  /** Undefined: to be put in order. */
  #all: readonly string[] | undefined = [];

  constructor({ policy, accounts }: AgentIdsDeps) {
    this.#policyNow = policy;
    accounts.follow((account, what) => {
      if (what !== "changed") this.#changed(account, what === "came");
    });
  }

  all(): readonly string[] {
    const policy = this.#policyNow();
    if (policy !== this.#policy) this.#switchTo(policy);
    const others = this.#others;
    this.#all ??= others.size === 0 ? this.#named : [...this.#named, ...others].sort();
    return this.#all;
  }

  #changed(account: string, isHere: boolean): void {
    if (!account.startsWith(AGENT_PREFIX)) return;
    const id = account.slice(AGENT_PREFIX.length);
    if (isHere) this.#here.add(id);
    else this.#here.delete(id);
    if (this.#policy?.agents.has(id) === true) return;
    if (isHere) this.#others.add(id);
    else this.#others.delete(id);
    this.#all = undefined;
  }

  #switchTo(policy: CompiledPolicy | undefined): void {
    this.#policy = policy;
    this.#named = [...(policy?.agents.keys() ?? [])].sort();
    this.#others.clear();
    for (const id of this.#here) if (policy?.agents.has(id) !== true) this.#others.add(id);
    this.#all = undefined;
  }
}
