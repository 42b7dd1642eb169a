import type { AgentEvent } from "./thread-messages.ts";

/** Events of a loop that are too many to be told singly: of each kind the last, with how many it stands for. */
export class AlikeEvents {
  readonly #kinds = new Map<string, { last: AgentEvent; before: number }>();

  /** How many kinds there are. */
  get count(): number {
    return this.#kinds.size;
  }

  add(event: AgentEvent): void {
    const kind = `${event.agentId} ${event.reason}`;
    const known = this.#kinds.get(kind);
    if (known === undefined) {
      this.#kinds.set(kind, { last: event, before: 0 });
      return;
    }
    known.last = event;
    known.before += 1;
  }

  /** All of them; then there are none. */
  take(): readonly AgentEvent[] {
    const events = [...this.#kinds.values()].map(({ last, before }) =>
      before === 0 ? last : { ...last, more: before },
    );
    this.#kinds.clear();
    return events;
  }
}
