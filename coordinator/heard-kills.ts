import type { MeshRecord } from "../mesh/record.ts";
import type { Cancel, Clock } from "../ports/clock.ts";

/** So long a kill's own coordinator has to store it; it takes milliseconds while the stream has a leader. */
export const HEARD_KILL_STORED_MS = 3_000;

export type HeardKillsOptions = {
  readonly clock: Clock;
  /** Makes the stream hold the scope's current record. */
  readonly store: (scope: string) => void;
};

/**
 * Kills that were heard and that nobody is known to have stored. Whoever said one may have died after that, and
 * what is in no stream comes to neither the coordinators nor the nodes that did not hear it: they would find
 * each other's states equal, and stay open.
 */
export class HeardKills {
  readonly #options: HeardKillsOptions;
  /** By scope. */
  readonly #waiting = new Map<string, { readonly kill: MeshRecord; readonly cancel: Cancel }>();

  constructor(options: HeardKillsOptions) {
    this.#options = options;
  }

  /** It is new here. */
  heard(kill: MeshRecord): void {
    const { scope } = kill;
    const { clock, store } = this.#options;
    this.#waiting.get(scope)?.cancel();
    const cancel = clock.after(HEARD_KILL_STORED_MS, () => {
      this.#waiting.delete(scope);
      store(scope);
    });
    this.#waiting.set(scope, { kill, cancel });
  }

  /** The stream holds that record. A copy of an earlier one of the scope may come late, and says nothing. */
  stored({ scope, hashHex }: MeshRecord): void {
    const waiting = this.#waiting.get(scope);
    if (waiting?.kill.hashHex !== hashHex) return;
    waiting.cancel();
    this.#waiting.delete(scope);
  }

  stop(): void {
    for (const { cancel } of this.#waiting.values()) cancel();
    this.#waiting.clear();
  }
}
