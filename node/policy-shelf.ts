import { compilePolicyInSlices } from "../policy/compile.ts";
import type { CompiledPolicy } from "../policy/compiled-policy.ts";
import type { Clock } from "../ports/clock.ts";
import { inSlices } from "../ports/in-slices.ts";
import { contentScanner } from "./content-scanner.ts";
import type { PolicyScanners } from "./dataplane/content-scanners.ts";
import { type RehearsedPolicy, rehearsedAs } from "./rehearse-policy.ts";

/** The one in force, the one to come, and one that requests under way may still hold. */
const KEPT_MAX = 3;

export type PolicyShelfDeps = {
  readonly scanners: PolicyScanners;
  readonly clock: Pick<Clock, "monoNs">;
  /** Version in force, which stays on the shelf however many come after it and never are. */
  readonly inForce: () => number;
  /** Lets what is waiting run. */
  readonly nextTurn: () => Promise<unknown>;
  /** For the first policy. */
  readonly rehearsed?: RehearsedPolicy | undefined;
};

/** A bundle that this node cannot enforce; the policy before it stays in force. */
export class PolicyRefused extends Error {}

/**
 * The policies of one data loop, compiled and ready.
 *
 * A policy is put on the shelf first and comes into force later, when the table's version cell says
 * so: by then every loop has it, so no two loops judge by different policies for longer than one
 * load of a cell takes.
 */
export class PolicyShelf {
  readonly #deps: Omit<PolicyShelfDeps, "rehearsed">;
  readonly #policies = new Map<number, CompiledPolicy>();
  #rehearsed: RehearsedPolicy | undefined;

  constructor({ rehearsed, ...deps }: PolicyShelfDeps) {
    this.#deps = deps;
    this.#rehearsed = rehearsed;
  }

  /** The policy of that version; undefined for version 0 and for what never came. */
  of(version: number): CompiledPolicy | undefined {
    return this.#policies.get(version);
  }

  /** The newest on the shelf, whether in force or not. */
  newest(): CompiledPolicy | undefined {
    return this.#policies.get(Math.max(0, ...this.#policies.keys()));
  }

  /** Compiles the bundle in slices. Rejects with PolicyRefused. */
  async put(version: number, bundle: Uint8Array): Promise<CompiledPolicy> {
    const known = rehearsedAs(this.#rehearsed, { version, bundle });
    this.#rehearsed = undefined;
    const policy = known ?? (await this.#compiled(version, bundle));
    await inSlices(this.#deps.scanners.prepare(policy), this.#deps);
    this.#policies.set(version, policy);
    this.#dropOldest();
    return policy;
  }

  async #compiled(version: number, bundle: Uint8Array): Promise<CompiledPolicy> {
    const steps = compilePolicyInSlices(bundle, { version, scanner: contentScanner });
    const compiled = await inSlices(steps, this.#deps);
    if (!compiled.ok) {
      const [first] = compiled.findings;
      throw new PolicyRefused(first === undefined ? "not a bundle" : first.message);
    }
    return compiled.policy;
  }

  /** Origins that any policy on the shelf names. */
  origins(): ReadonlySet<string> {
    const policies = [...this.#policies.values()];
    return new Set(
      policies.flatMap(({ providers }) => [...providers.values()].map(({ origin }) => origin)),
    );
  }

  #dropOldest(): void {
    const versions = [...this.#policies.keys()].sort((a, b) => a - b);
    const inForce = this.#deps.inForce();
    for (const version of versions.slice(0, -KEPT_MAX)) {
      if (version !== inForce) this.#policies.delete(version);
    }
  }
}
