import { openParts, type PackedBundle, PartsMalformed } from "../mesh/policy-parts.ts";
import { compilePolicyInSlices } from "../policy/compile.ts";
import type { CompiledPolicy } from "../policy/compiled-policy.ts";
import type { Clock } from "../ports/clock.ts";
import { inSlices } from "../ports/in-slices.ts";
import { contentScanner } from "./content-scanner.ts";
import type { LoopLink } from "./loop-link.ts";
import type { NodeLog } from "./node-log.ts";
import { type RehearsedPolicy, rehearsedAs } from "./rehearse-policy.ts";
import { setPolicyVersion, type Table } from "./table/table.ts";
import type { PolicyWord } from "./thread-messages.ts";

export type PolicySwitchDeps = {
  readonly table: Table;
  readonly clock: Pick<Clock, "monoNs">;
  readonly loops: readonly LoopLink[];
  readonly log: NodeLog;
  /** The new policy is in force. */
  readonly onSwitched: () => void;
  /** The new policy was refused; the one before stays. */
  readonly onRefused: () => void;
  /** For the first policy. */
  readonly rehearsed?: RehearsedPolicy | undefined;
  /** Told of each bundle that comes into force. */
  readonly keepBundle?: (bundle: Uint8Array) => void;
};

/** Beside the one in force a loop's shelf keeps as many, whatever came after them. */
const OFFERED_MAX = 2;
/** Of why a policy was refused; heartbeats carry it. */
const REFUSAL_CHARS_MAX = 500;

export type OfferedBundle = {
  readonly version: number;
  readonly bundle: Uint8Array | PackedBundle;
};

type Offered = {
  readonly bundle: Uint8Array;
  readonly policy: CompiledPolicy;
  /** Loops that have not said ready. */
  readonly waiting: Set<number>;
};

/**
 * Puts a new policy in force on all loops at once.
 *
 * Two steps: the bundle goes to every loop, each compiles it and says ready; only then is the
 * table's version cell stored, which every request reads once; not before `begin`. A bundle that this node cannot
 * compile is refused here, and the policy before it stays, or comes if it was on its way.
 */
export class PolicySwitch {
  readonly #deps: Omit<PolicySwitchDeps, "rehearsed">;
  #rehearsed: RehearsedPolicy | undefined;
  /** The newest bundle that came while another was being compiled; what it overtook is left out. */
  #next: OfferedBundle | undefined;
  #compiling: Promise<void> | undefined;
  /** By version, in the order in which they were offered. */
  readonly #offered = new Map<number, Offered>();
  #current: CompiledPolicy | undefined;
  #previous: CompiledPolicy | undefined;
  #refusal: { readonly version: number; readonly message: string } | undefined;
  #decides = false;

  constructor({ rehearsed, ...deps }: PolicySwitchDeps) {
    this.#deps = deps;
    this.#rehearsed = rehearsed;
  }

  /** Requests are decided by the policy from now on. Until then none is, though all that needs no request goes by it. */
  begin(): void {
    this.#decides = true;
    if (this.#current !== undefined) setPolicyVersion(this.#deps.table, this.#current.version);
  }

  get current(): CompiledPolicy | undefined {
    return this.#current;
  }

  get previous(): CompiledPolicy | undefined {
    return this.#previous;
  }

  /** Why the newest bundle is not in force here; undefined when it is. */
  get refusal(): string | undefined {
    return this.#refusal?.message;
  }

  /** What operators are told of this node's policy. */
  get word(): PolicyWord {
    const { version = 0, message = "" } = this.#refusal ?? {};
    const refused = message.slice(0, REFUSAL_CHARS_MAX);
    return { version: this.#current?.version ?? 0, refusedVersion: version, refused };
  }

  /**
   * Opens and compiles a bundle in slices, since agents' money waits for this thread, and hands it to the loops.
   * One that is being compiled is not given up for a newer one: that may be refused, and then the one before is
   * the one to have.
   */
  offer(bundle: OfferedBundle): Promise<void> {
    this.#next = bundle;
    this.#compiling ??= this.#compileAll();
    return this.#compiling;
  }

  async #compileAll(): Promise<void> {
    try {
      while (this.#next !== undefined) {
        const bundle = this.#next;
        this.#next = undefined;
        await this.#compile(bundle);
      }
    } finally {
      this.#compiling = undefined;
    }
  }

  async #compile({ version, bundle: offered }: OfferedBundle): Promise<void> {
    const { loops, log, clock } = this.#deps;
    const rehearsed = this.#rehearsed;
    this.#rehearsed = undefined;
    const result = await inSlices(compileOffered({ version, offered, rehearsed }), { clock });
    if ("refused" in result) {
      this.#refuse(version, result.refused);
      return;
    }
    const { bundle, policy } = result;
    this.#offered.set(version, { bundle, policy, waiting: new Set(loops.map(({ no }) => no)) });
    const [oldest = version] = this.#offered.keys();
    if (this.#offered.size > OFFERED_MAX) this.#offered.delete(oldest);
    log.policyOffered(version, policy.sha256);
    for (const loop of loops) loop.post({ t: "policy", version, bundle });
  }

  ready(loop: number, version: number): void {
    const offered = this.#offered.get(version);
    if (offered === undefined) return;
    offered.waiting.delete(loop);
    if (offered.waiting.size > 0) return;
    for (const older of this.#offered.keys()) if (older <= version) this.#offered.delete(older);
    this.#previous = this.#current;
    this.#current = offered.policy;
    if ((this.#refusal?.version ?? 0) <= version) this.#refusal = undefined;
    if (this.#decides) setPolicyVersion(this.#deps.table, version);
    this.#deps.log.policySwitched(version, offered.policy.sha256);
    this.#deps.keepBundle?.(offered.bundle);
    this.#deps.onSwitched();
  }

  failed(loop: number, version: number, message: string): void {
    if (!this.#offered.delete(version)) return;
    this.#refuse(version, `loop ${loop}: ${message}`);
  }

  #refuse(version: number, message: string): void {
    this.#refusal = { version, message };
    this.#deps.log.policyRefused(version, message);
    this.#deps.onRefused();
  }
}

type Compiled =
  | { readonly bundle: Uint8Array; readonly policy: CompiledPolicy }
  | { readonly refused: string };

/** A bundle in parts is opened once, into memory that the loops share. */
function* compileOffered(of: {
  readonly version: number;
  readonly offered: OfferedBundle["bundle"];
  readonly rehearsed: RehearsedPolicy | undefined;
}): Generator<void, Compiled, void> {
  const { version, offered } = of;
  let bundle: Uint8Array;
  try {
    bundle = offered instanceof Uint8Array ? offered : yield* openParts(offered);
  } catch (error) {
    if (error instanceof PartsMalformed) return { refused: error.message };
    throw error;
  }
  const known = rehearsedAs(of.rehearsed, { version, bundle });
  if (known !== undefined) return { bundle, policy: known };
  const compiled = yield* compilePolicyInSlices(bundle, { version, scanner: contentScanner });
  if (compiled.ok) return { bundle, policy: compiled.policy };
  const found = compiled.findings.map(({ path, message }) =>
    path === "" ? message : `${path}: ${message}`,
  );
  return { refused: found.join("; ") };
}
