import { compilePolicy } from "../policy/compile.ts";
import type { CompiledPolicy } from "../policy/compiled-policy.ts";
import { contentScanner } from "./content-scanner.ts";
import type { LoopLink } from "./loop-link.ts";
import type { NodeLog } from "./node-log.ts";
import { setPolicyVersion, type Table } from "./table/table.ts";

export type PolicySwitchDeps = {
  readonly table: Table;
  readonly loops: readonly LoopLink[];
  readonly log: NodeLog;
  /** The new policy is in force. */
  readonly onSwitched: () => void;
};

type Offered = {
  readonly policy: CompiledPolicy;
  /** Loops that have not said ready. */
  readonly waiting: Set<number>;
};

/**
 * Puts a new policy in force on all loops at once.
 *
 * Two steps: the bundle goes to every loop, each compiles it and says ready; only then is the
 * table's version cell stored, which every request reads once. A bundle that this node cannot
 * compile is refused here, and the policy before it stays.
 */
export class PolicySwitch {
  readonly #deps: PolicySwitchDeps;
  #offered: Offered | undefined;
  #current: CompiledPolicy | undefined;
  #previous: CompiledPolicy | undefined;
  #refusal: string | undefined;

  constructor(deps: PolicySwitchDeps) {
    this.#deps = deps;
  }

  get current(): CompiledPolicy | undefined {
    return this.#current;
  }

  get previous(): CompiledPolicy | undefined {
    return this.#previous;
  }

  /** Why the newest bundle is not in force here; undefined when it is. */
  get refusal(): string | undefined {
    return this.#refusal;
  }

  offer({ version, bundle }: { readonly version: number; readonly bundle: Uint8Array }): void {
    const { loops, log } = this.#deps;
    const compiled = compilePolicy(bundle, { version, scanner: contentScanner });
    if (!compiled.ok) {
      const message = compiled.findings.map((finding) => finding.message).join("; ");
      this.#refuse(version, message);
      return;
    }
    this.#offered = { policy: compiled.policy, waiting: new Set(loops.map(({ no }) => no)) };
    log.policyOffered(version, compiled.policy.sha256);
    for (const loop of loops) loop.post({ t: "policy", version, bundle });
  }

  ready(loop: number, version: number): void {
    const offered = this.#offered;
    if (offered === undefined || offered.policy.version !== version) return;
    offered.waiting.delete(loop);
    if (offered.waiting.size > 0) return;
    this.#offered = undefined;
    this.#previous = this.#current;
    this.#current = offered.policy;
    this.#refusal = undefined;
    setPolicyVersion(this.#deps.table, version);
    this.#deps.log.policySwitched(version, offered.policy.sha256);
    this.#deps.onSwitched();
  }

  failed(loop: number, version: number, message: string): void {
    if (this.#offered?.policy.version !== version) return;
    this.#offered = undefined;
    this.#refuse(version, `loop ${loop}: ${message}`);
  }

  #refuse(version: number, message: string): void {
    this.#refusal = message;
    this.#deps.log.policyRefused(version, message);
  }
}
