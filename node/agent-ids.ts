import type { CompiledPolicy } from "../policy/compiled-policy.ts";

const AGENT_PREFIX = "agent/";

export type AgentIdsDeps = {
  readonly policy: () => CompiledPolicy | undefined;
  /** Accounts with an actor in memory, in any order. */
  readonly accounts: () => Iterable<string>;
};

/**
 * Ids of all agents that policy names or that did something here, in order.
 *
 * Pages of a list of ten thousand are asked for one after the other, on the thread that also lends
 * money: what policy names is put in order once, and the few others are added each time.
 */
export class AgentIds {
  readonly #deps: AgentIdsDeps;
  #policy: CompiledPolicy | undefined;
  #named: readonly string[] = [];
  /** The same as accounts, so that ten thousand of those are told apart without cutting each. */
  #namedAccounts: ReadonlySet<string> = new Set();

  constructor(deps: AgentIdsDeps) {
    this.#deps = deps;
  }

  all(): readonly string[] {
    const policy = this.#deps.policy();
    if (policy !== this.#policy) {
      this.#policy = policy;
      this.#named = [...(policy?.agents.keys() ?? [])].sort();
      this.#namedAccounts = new Set(this.#named.map((id) => AGENT_PREFIX + id));
    }
    const others: string[] = [];
    for (const account of this.#deps.accounts()) {
      if (this.#namedAccounts.has(account) || !account.startsWith(AGENT_PREFIX)) continue;
      others.push(account.slice(AGENT_PREFIX.length));
    }
    return others.length === 0 ? this.#named : [...this.#named, ...others].sort();
  }
}
