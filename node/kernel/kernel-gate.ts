import type { Clock } from "../../ports/clock.ts";
import { parseScope, type Scope } from "../../proto/ids.ts";
import { ofFamily } from "./kernel-view.ts";
import type { Pod } from "./pod.ts";
import { batchResult, killedSetBatch } from "./set-elements.ts";
import { destroyRequests, isSocketListComplete, socketsRequest } from "./socket-sweep.ts";

// The gate holds scopes, not addresses: which pods a kill means may change while it is in force.
//
// G1. A kill changes the kernel's set in the turn in which it comes, before anything else is done.
// G2. What is killed is part of every ruleset made from now on, and is written down for the next start,
//     after it was answered.
// G3. After SWEEP_AFTER_MS the killed agent's sockets are ended, whether their owner is alive or not.
// G4. A load that was made before a kill and ends after it does not undo it: the sets are made right.

/** Time in which the proxy ends its connections by itself, before the sweep. Milliseconds. */
export const SWEEP_AFTER_MS = 600;
const FAMILIES = [4, 6] as const;
const NO_SUCH_ELEMENT = 2;

/** Requests to the kernel, each with all of its answer. */
export type KernelCalls = {
  readonly netfilter: {
    request(bytes: Uint8Array, isComplete: (answer: Uint8Array) => boolean): Uint8Array;
  };
  readonly sockets: {
    request(bytes: Uint8Array, isComplete: (answer: Uint8Array) => boolean): Uint8Array;
  };
};

export type KernelGateDeps = {
  readonly clock: Clock;
  readonly calls: KernelCalls;
  /** Writes the killed scopes down. */
  readonly keep: (scopes: readonly string[]) => void;
  readonly onSwept: (scope: string, sockets: number) => void;
  readonly onFault: (what: string) => void;
};

/** How a change of the gate went. */
export type Gated =
  | { readonly isGated: true; readonly addresses: number }
  | { readonly isGated: false; readonly error: string };

/** The kernel would not; nothing else is known of what it did. */
export class KernelFault extends Error {
  override readonly name = "KernelFault";
}

export class KernelGate {
  readonly #deps: KernelGateDeps;
  #scopes = new Set<string>();
  #pods: readonly Pod[] = [];
  #isKeeping = false;
  /** What the kernel's sets hold, as far as we changed them. */
  #inKernel = new Set<string>();

  /** @param scopes What was written down before. */
  constructor(deps: KernelGateDeps, scopes: readonly string[]) {
    this.#deps = deps;
    for (const scope of scopes) if (podScope(scope)) this.#scopes.add(scope);
  }

  /** Scopes that are killed now. */
  get scopes(): readonly string[] {
    return [...this.#scopes].sort();
  }

  /** Addresses that a ruleset must name as killed. */
  killedAddresses(): readonly string[] {
    return [...new Set([...this.#scopes].flatMap((scope) => this.#addressesOf(scope)))].sort();
  }

  /** The pods are these from now on. A pod of a killed agent is killed before it is known otherwise. */
  setPods(pods: readonly Pod[]): void {
    this.#pods = pods;
    this.#trySync();
  }

  kill(scope: string): Gated {
    if (!podScope(scope)) return { isGated: false, error: "no pods have this scope" };
    this.#scopes.add(scope);
    const gated = this.#trySync();
    this.#keepSoon();
    this.#sweepLater(scope);
    return gated;
  }

  revive(scope: string): Gated {
    this.#scopes.delete(scope);
    const gated = this.#trySync();
    this.#keepSoon();
    return gated;
  }

  /** The node's whole word on what is killed; it wins over what was written down. */
  replace(scopes: readonly string[]): Gated {
    const before = this.#scopes;
    this.#scopes = new Set(scopes.filter((scope) => podScope(scope) !== undefined));
    const gated = this.#trySync();
    this.#keepSoon();
    for (const scope of this.#scopes) if (!before.has(scope)) this.#sweepLater(scope);
    return gated;
  }

  /** A ruleset that names these addresses has just replaced whatever was there (G4). */
  loaded(addresses: readonly string[]): void {
    this.#inKernel = new Set(addresses);
    this.#trySync();
  }

  /** Ends every socket whose peer is covered by the scope. @returns How many were ended. */
  sweep(scope: string): number {
    const addresses = this.#addressesOf(scope);
    let ended = 0;
    for (const family of FAMILIES) {
      const wanted = ofFamily(addresses, family);
      if (wanted.length === 0) continue;
      const { sockets } = this.#deps.calls;
      const list = sockets.request(socketsRequest(family), isSocketListComplete);
      const requests = destroyRequests(list, wanted, family);
      if (typeof requests === "number") throw new KernelFault(`listing sockets: errno ${requests}`);
      for (const request of requests) {
        const code = batchResult(sockets.request(request, (a) => batchResult(a) !== undefined));
        // One that ended by itself in between is what was wanted.
        if (code === 0) ended += 1;
        else if (code !== NO_SUCH_ELEMENT) throw new KernelFault(`ending a socket: errno ${code}`);
      }
    }
    return ended;
  }

  /** Never before the answer: a disk takes longer than the kernel, and the node has it on its own. */
  #keepSoon(): void {
    if (this.#isKeeping) return;
    this.#isKeeping = true;
    this.#deps.clock.after(0, () => {
      this.#isKeeping = false;
      try {
        this.#deps.keep(this.scopes);
      } catch (error) {
        this.#deps.onFault(`writing down what is killed: ${String(error)}`);
      }
    });
  }

  #sweepLater(scope: string): void {
    const { clock, onSwept, onFault } = this.#deps;
    clock.after(SWEEP_AFTER_MS, () => {
      if (!this.#scopes.has(scope)) return;
      try {
        onSwept(scope, this.sweep(scope));
      } catch (error) {
        onFault(`sweep of ${scope}: ${String(error)}`);
      }
    });
  }

  #trySync(): Gated {
    try {
      const wanted = this.killedAddresses();
      this.#sync(new Set(wanted));
      return { isGated: true, addresses: wanted.length };
    } catch (error) {
      this.#deps.onFault(`gate: ${String(error)}`);
      return { isGated: false, error: String(error) };
    }
  }

  /** What closes comes before what opens. */
  #sync(wanted: ReadonlySet<string>): void {
    const added = [...wanted].filter((address) => !this.#inKernel.has(address));
    for (const family of FAMILIES) {
      const addresses = ofFamily(added, family);
      if (addresses.length > 0) this.#change(killedSetBatch("add", addresses, family), []);
      for (const address of addresses) this.#inKernel.add(address);
    }
    for (const address of [...this.#inKernel].filter((one) => !wanted.has(one))) {
      const family = address.includes(":") ? 6 : 4;
      this.#change(killedSetBatch("delete", [address], family), [NO_SUCH_ELEMENT]);
      this.#inKernel.delete(address);
    }
  }

  #change(batch: Uint8Array, harmless: readonly number[]): void {
    const answer = this.#deps.calls.netfilter.request(batch, (a) => batchResult(a) !== undefined);
    const code = batchResult(answer) as number;
    if (code !== 0 && !harmless.includes(code)) throw new KernelFault(`errno ${code}`);
  }

  #addressesOf(text: string): readonly string[] {
    const scope = podScope(text);
    if (!scope) return [];
    return this.#pods.filter((pod) => covers(scope, pod)).flatMap(({ addresses }) => addresses);
  }
}

/** A contract has no address: its kill is the proxy's matter alone. */
function podScope(text: string): Scope | undefined {
  const scope = parseScope(text);
  return scope && ["global", "team", "agent"].includes(scope.kind) ? scope : undefined;
}

function covers(scope: Scope, { agent, exempt }: Pod): boolean {
  if (exempt) return false;
  if (scope.kind === "global") return true;
  if (!agent) return false;
  if (scope.kind === "team") return agent.team === scope.team;
  return scope.kind === "agent" && agent.team === scope.team && agent.agent === scope.agent;
}
