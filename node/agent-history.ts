import type { AgentEvent } from "./thread-messages.ts";

/** Decisions that are kept of one agent, newest last. */
export const DECISIONS_KEPT_MAX = 16;
/** Agents of whom decisions are kept: between half of them and all, those that were silent longest go. */
export const AGENTS_KEPT_MAX = 20_000;

/** The last decisions of each agent, for operators who look at it now. The log has them all. */
export class AgentHistory {
  #young = new Map<string, AgentEvent[]>();
  #old = new Map<string, AgentEvent[]>();

  note(event: AgentEvent): void {
    const { agentId } = event;
    const known = this.#young.get(agentId);
    const events = known ?? this.#old.get(agentId) ?? [];
    events.push(event);
    if (events.length > DECISIONS_KEPT_MAX) events.shift();
    if (known === undefined) this.#remember(agentId, events);
  }

  of(agentId: string): readonly AgentEvent[] {
    return this.#young.get(agentId) ?? this.#old.get(agentId) ?? [];
  }

  /** In two halves: to find the one that was silent longest in a map means to look past all that left it. */
  #remember(agentId: string, events: AgentEvent[]): void {
    if (this.#young.size >= AGENTS_KEPT_MAX / 2) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(agentId, events);
  }
}
