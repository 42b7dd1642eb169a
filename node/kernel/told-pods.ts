import type { Cancel, Clock } from "../../ports/clock.ts";
import { errorMessage } from "../../ports/error-message.ts";
import type { GatePod } from "./gate-messages.ts";

/** A list that could not be written is tried again so much later. */
const RETRY_MS = 1_000;

export type ToldPodsDeps = {
  readonly clock: Pick<Clock, "after">;
  /** Puts the list where the node reads it. @throws Where there is no room, or no right. */
  readonly write: (pods: readonly GatePod[]) => void;
  /** Takes the list away that lies there, which takes no room. @throws Where there is no right. */
  readonly remove: () => void;
  readonly onFault: (what: string) => void;
};

/**
 * Tells the node who has which address, until it has been told.
 *
 * A list that cannot be written leaves none: by the one before, an address would be the agent's who had it, and
 * without one the node knows nobody and refuses.
 */
export class ToldPods {
  readonly #deps: ToldPodsDeps;
  #wrong: string | undefined;
  #cancel: Cancel = () => undefined;

  constructor(deps: ToldPodsDeps) {
    this.#deps = deps;
  }

  /** Why the node does not know the last list; undefined when it does. */
  get unsaidBecause(): string | undefined {
    return this.#wrong;
  }

  tell(pods: readonly GatePod[]): void {
    const { clock, write, remove, onFault } = this.#deps;
    this.#cancel();
    try {
      write(pods);
      this.#wrong = undefined;
    } catch (error) {
      const wrong = `the node cannot be told of the pods: ${errorMessage(error)}${leftBy(remove)}`;
      if (wrong !== this.#wrong) onFault(wrong);
      this.#wrong = wrong;
      this.#cancel = clock.after(RETRY_MS, () => this.tell(pods));
    }
  }

  stop(): void {
    this.#cancel();
  }
}

/** What is to be said beside it: nothing, where no list is left. */
function leftBy(remove: () => void): string {
  try {
    remove();
    return "";
  } catch (error) {
    return `; the list before stays: ${errorMessage(error)}`;
  }
}
