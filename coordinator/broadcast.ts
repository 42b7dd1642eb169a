import type { Bus } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import { parseScope, type Scope } from "../proto/ids.ts";
import { controlSubject, FAST_PREFIX, withPrefix } from "../proto/subjects.ts";
import type { Command } from "./command.ts";
import type { Replica } from "./replica.ts";

/** A broadcast may be lost and is small: so often it is said again, until every live node has it. */
export const BROADCAST_EVERY_MS = 75;
export const BROADCAST_FOR_MS = 30_000;

export type KillBroadcastsOptions = {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly replica: Replica;
  /** Whether a live node has not said that it enforces the command's record. */
  readonly isAwaited: (command: Command) => boolean;
};

/** Says kills on the fast path: at once, and then until every live node has answered. */
export class KillBroadcasts {
  readonly #options: KillBroadcastsOptions;
  readonly #cancels = new Map<string, () => void>();

  constructor(options: KillBroadcastsOptions) {
    this.#options = options;
  }

  /** Says the command's record from now on, in place of one that it said before. */
  say(command: Command): void {
    const scope = parseScope(command.scope);
    const bytes = command.bytes;
    if (!scope || !bytes) return;
    this.forget(command.cmdId);
    const { bus, clock } = this.#options;
    const subject = fastSubject(scope);
    let leftMs = BROADCAST_FOR_MS;
    const say = (): void => {
      bus.send(subject, bytes);
      leftMs -= BROADCAST_EVERY_MS;
      const again = (): void => {
        if (leftMs > 0 && this.#isNeeded(command)) say();
        else this.forget(command.cmdId);
      };
      this.#cancels.set(command.cmdId, clock.after(BROADCAST_EVERY_MS, again));
    };
    if (this.#isCurrent(command)) say();
  }

  forget(cmdId: string): void {
    this.#cancels.get(cmdId)?.();
    this.#cancels.delete(cmdId);
  }

  stop(): void {
    for (const cmdId of [...this.#cancels.keys()]) this.forget(cmdId);
  }

  #isNeeded(command: Command): boolean {
    return this.#isCurrent(command) && this.#options.isAwaited(command);
  }

  #isCurrent(command: Command): boolean {
    return this.#options.replica.state.get(command.scope)?.cmdId === command.cmdId;
  }
}

/** The subject on which a kill is heard ahead of its commit. */
export function fastSubject(scope: Scope): string {
  return withPrefix(controlSubject(scope), FAST_PREFIX);
}
