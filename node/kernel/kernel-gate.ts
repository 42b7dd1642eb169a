import type { Clock } from "../../ports/clock.ts";
import { type AgentId, parseScope, type Scope, scopesOfAgent } from "../../proto/ids.ts";
import { ofFamily } from "./kernel-view.ts";
import { KNOCKED_SETS } from "./knock-form.ts";
import type { Pod } from "./pod.ts";
import { BATCH_ADDRESSES_MAX, batchResult, killedSetBatch } from "./set-elements.ts";
import { destroyRequests, isSocketListComplete, socketsRequest } from "./socket-sweep.ts";

// The gate holds scopes, not addresses: which pods a kill means may change while it is in force.
//
// G1. A kill changes the kernel's set in the turn in which it comes, before anything else is done: in
//     one batch of its own addresses, which were looked up when the pods were told.
// G2. What is killed is part of every ruleset made from now on, and is written down for the next start,
//     after it was answered.
// G3. After SWEEP_AFTER_MS the killed agent's sockets are ended, whether their owner is alive or not.
// G4. A load that was made before a kill and ends after it does not undo it: the sets are made right.
// G5. The helper closes the gate for good behind a kill's sweep, which may be after the revive. What it may have closed
//     is opened once more when it can no longer.

/** Time in which the proxy ends its connections by itself, before the sweep. Milliseconds. */
export const SWEEP_AFTER_MS = 600;
/** The helper does nothing more for a kill after `SWEEP_NS`, gate-helper.c. Milliseconds. */
export const CLOSED_LATE_MS = 250;
const FAMILIES = [4, 6] as const;
const NO_SUCH_ELEMENT = 2;

/** Requests to the kernel, each with all of its answer. `isComplete` is asked of each piece of it, as it comes. */
export type KernelCalls = {
  readonly netfilter: {
    request(bytes: Uint8Array, isComplete: (piece: Uint8Array) => boolean): Uint8Array;
  };
  readonly sockets: {
    request(bytes: Uint8Array, isComplete: (piece: Uint8Array) => boolean): Uint8Array;
  };
};

export type KernelGateDeps = {
  readonly clock: Clock;
  readonly calls: KernelCalls;
  /** Addresses by the scope that covers them, whenever the pods are others. */
  readonly onScopes: (addresses: ReadonlyMap<string, readonly string[]>) => void;
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
  /** By the scope that covers them: addresses of pods that are governed. */
  #addresses: ReadonlyMap<string, readonly string[]> = new Map();
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

  /** Whether a pod of this agent is killed; of nobody's, whether everybody is. */
  isKilled(agent: AgentId | undefined): boolean {
    const scopes = agent ? scopesOfAgent(agent) : ["global"];
    return scopes.some((scope) => this.#scopes.has(scope));
  }

  /** The pods are these from now on. A pod of a killed agent is killed before it is known otherwise. */
  setPods(pods: readonly Pod[]): void {
    this.#addresses = addressesByScope(pods);
    this.#deps.onScopes(this.#addresses);
    this.#trySync();
  }

  kill(scope: string): Gated {
    if (!podScope(scope)) return { isGated: false, error: "no pods have this scope" };
    this.#scopes.add(scope);
    const addresses = this.#addressesOf(scope);
    const gated = this.#try(addresses.length, () => this.#close(addresses));
    this.#keepSoon();
    this.#sweepLater(scope);
    return gated;
  }

  revive(scope: string): Gated {
    const wasKilled = this.#scopes.delete(scope);
    const gated = this.#trySync();
    this.#keepSoon();
    if (wasKilled) this.#openLater(scope);
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
    let failed: number | undefined;
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
        else if (code !== NO_SUCH_ELEMENT) failed ??= code;
      }
    }
    // One that does not end is told, and holds up none of the others.
    if (failed !== undefined)
      this.#deps.onFault(`sweep of ${scope}: ending a socket: errno ${failed}`);
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

  /** G5. What a new kill has closed meanwhile by a knock stays closed: that is in a set of its own. */
  #openLater(scope: string): void {
    this.#deps.clock.after(CLOSED_LATE_MS, () => {
      const kept = new Set(this.killedAddresses());
      const open = this.#addressesOf(scope).filter((address) => !kept.has(address));
      this.#try(open.length, () => {
        for (const address of open)
          this.#change(killedSetBatch("delete", [address]), [NO_SUCH_ELEMENT]);
      });
    });
  }

  #trySync(): Gated {
    const wanted = this.killedAddresses();
    return this.#try(wanted.length, () => this.#sync(wanted));
  }

  #try(addresses: number, change: () => void): Gated {
    try {
      change();
      return { isGated: true, addresses };
    } catch (error) {
      this.#deps.onFault(`gate: ${String(error)}`);
      return { isGated: false, error: String(error) };
    }
  }

  /** What closes comes before what opens. */
  #sync(wanted: readonly string[]): void {
    this.#close(wanted);
    const kept = new Set(wanted);
    // One at a time: a batch with one that is gone already would leave the others.
    for (const address of [...this.#inKernel].filter((one) => !kept.has(one))) {
      this.#change(killedSetBatch("delete", [address]), [NO_SUCH_ELEMENT]);
      this.#change(killedSetBatch("delete", [address], KNOCKED_SETS), [NO_SUCH_ELEMENT]);
      this.#inKernel.delete(address);
    }
  }

  #close(addresses: readonly string[]): void {
    const added = addresses.filter((address) => !this.#inKernel.has(address));
    for (let at = 0; at < added.length; at += BATCH_ADDRESSES_MAX) {
      const some = added.slice(at, at + BATCH_ADDRESSES_MAX);
      this.#change(killedSetBatch("add", some), []);
      for (const address of some) this.#inKernel.add(address);
    }
  }

  #change(batch: Uint8Array, harmless: readonly number[]): void {
    const answer = this.#deps.calls.netfilter.request(batch, (a) => batchResult(a) !== undefined);
    const code = batchResult(answer) as number;
    if (code !== 0 && !harmless.includes(code)) throw new KernelFault(`errno ${code}`);
  }

  #addressesOf(scope: string): readonly string[] {
    return this.#addresses.get(scope) ?? [];
  }
}

/** A contract has no address: its kill is the proxy's matter alone. */
function podScope(text: string): Scope | undefined {
  const scope = parseScope(text);
  return scope && ["global", "team", "agent"].includes(scope.kind) ? scope : undefined;
}

/** A pod that nobody registered is covered by everybody's kill alone. */
function addressesByScope(pods: readonly Pod[]): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const { agent, exempt, addresses } of pods) {
    if (exempt) continue;
    for (const scope of agent ? scopesOfAgent(agent) : ["global"]) {
      const held = found.get(scope) ?? [];
      held.push(...addresses);
      found.set(scope, held);
    }
  }
  return found;
}
