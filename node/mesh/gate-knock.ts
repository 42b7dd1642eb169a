import { type AgentId, parseAgentId, scopesOfAgent } from "../../proto/ids.ts";
import type { GatePod } from "../kernel/gate-messages.ts";
import { isTaken, knockOf } from "../kernel/knock-form.ts";

// The shortest way to the kernel gate: the rules themselves take a killed agent's addresses, from datagrams that
// this thread sends to itself. Nobody else has to be woken for it.
//
// N1. It says that the gate is closed only when every address of the scope came back as taken by the rules.
// N2. It is asked for few addresses. More take the other ways, so that the turn stays short.
// N3. What it closes opens by itself after a while: it is never all that was done.

/** Addresses of one kill: each takes some microseconds. */
export const KNOCKS_MAX = 32;
/** After so many the engine has compiled what a kill runs through. */
const REHEARSALS = 200;
/** Not of the form that the rules take, so nothing is closed. */
const REHEARSAL = Uint8Array.of(0, 0, 0, 0, 0);

export class GateKnock {
  readonly #send: (datagram: Uint8Array) => Uint8Array | undefined;
  #knocks: ReadonlyMap<string, readonly Uint8Array[]> = new Map();
  #isRehearsed = false;

  /** @param send Undefined: nothing came back. */
  constructor(send: (datagram: Uint8Array) => Uint8Array | undefined) {
    this.#send = send;
  }

  /** Who has which address, as the enforcer says it. */
  setPods(pods: readonly GatePod[]): void {
    const found = new Map<string, Uint8Array[]>();
    for (const { address, agent } of pods)
      for (const scope of scopesOf(agent)) {
        const held = found.get(scope) ?? [];
        // One too many says as much as all of them.
        if (held.length <= KNOCKS_MAX) held.push(knockOf(address));
        found.set(scope, held);
      }
    this.#knocks = found;
    this.#rehearse();
  }

  /** Whether the rules refuse every address of the scope from now on. False: that is not known. */
  close(scope: string): boolean {
    const knocks = this.#knocks.get(scope) ?? [];
    if (knocks.length === 0 || knocks.length > KNOCKS_MAX) return false;
    return knocks.every((knock) => this.#isTaken(knock));
  }

  #isTaken(knock: Uint8Array): boolean {
    const heard = this.#send(knock);
    return heard !== undefined && isTaken(knock, heard);
  }

  /** A kill is rare, and the first one would else run as code that nothing has compiled. */
  #rehearse(): void {
    if (this.#isRehearsed) return;
    this.#isRehearsed = true;
    for (let i = 0; i < REHEARSALS; i++) this.#isTaken(REHEARSAL);
  }
}

/** A pod that nobody registered is covered by everybody's kill alone. */
function scopesOf(agent: string | undefined): readonly string[] {
  const id: AgentId | undefined = agent === undefined ? undefined : parseAgentId(agent);
  return id ? scopesOfAgent(id) : ["global"];
}
