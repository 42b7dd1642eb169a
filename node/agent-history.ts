import type { AgentEvent } from "./thread-messages.ts";

/** Decisions that are kept of one agent, newest last. */
export const DECISIONS_KEPT_MAX = 16;
/** Agents of whom decisions are kept; the one that was silent longest makes room. */
export const AGENTS_KEPT_MAX = 10_000;

/** The last decisions of each agent, for operators who look at it now. The log has them all. */
export class AgentHistory {
  readonly #events = new Map<string, AgentEvent[]>();

  note(event: AgentEvent): void {
    const events = this.#events.get(event.agentId) ?? [];
    events.push(event);
    if (events.length > DECISIONS_KEPT_MAX) events.shift();
    // Taken out and put in again, so that the map's first entry is the one silent longest.
    this.#events.delete(event.agentId);
    this.#events.set(event.agentId, events);
    if (this.#events.size > AGENTS_KEPT_MAX) {
      this.#events.delete(this.#events.keys().next().value as string);
    }
  }

  of(agentId: string): readonly AgentEvent[] {
    return this.#events.get(agentId) ?? [];
  }

  agents(): Iterable<string> {
    return this.#events.keys();
  }
}
