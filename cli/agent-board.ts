import { Standing } from "../proto/gen/altrace/v1/mesh_pb.ts";
import type { AgentState, WatchAgentsResponse } from "../proto/gen/altrace/v1/node_service_pb.ts";

/** One agent as the live table shows it. */
export type BoardRow = {
  readonly agent: string;
  readonly standing: Standing;
  /** Spent on this node since its actor woke, and held now, micro-dollars. */
  readonly spentMicros: number;
  readonly heldMicros: number;
  /** Over the last seconds. */
  readonly usdMicrosPerHour: number;
  readonly requestsPerSecond: number;
  readonly refusedPerSecond: number;
  readonly streams: number;
  readonly connections: number;
};

type Sample = {
  readonly atMs: number;
  readonly spentMicros: number;
  readonly allowed: number;
  readonly refused: number;
};

type Known = { state: AgentState; readonly samples: Sample[] };

/** Rates are of as many ticks: one is a second, unless its user asked for longer ones. */
const SAMPLES_MAX = 10;
const MS_PER_SECOND = 1_000;
const MS_PER_HOUR = 3_600_000;

/** What a watch of agents has said so far, and how fast it changes. Time comes in; nothing is read. */
export class AgentBoard {
  readonly #agents = new Map<string, Known>();

  /** Takes in what the watch says. */
  take({ agent, gone }: Pick<WatchAgentsResponse, "agent" | "gone">): void {
    if (agent === undefined) return;
    const known = this.#agents.get(agent.agent);
    if (gone) this.#agents.delete(agent.agent);
    else if (known === undefined) this.#agents.set(agent.agent, { state: agent, samples: [] });
    else known.state = agent;
  }

  /** The rows as they stand now: whoever is in trouble first, then who spends most. */
  tick(nowMs: number): readonly BoardRow[] {
    return [...this.#agents.values()].map((known) => rowOf(known, nowMs)).sort(byUrgency);
  }
}

function rowOf({ state, samples }: Known, nowMs: number): BoardRow {
  const spentMicros = Number(state.spent?.usdMicros ?? 0n);
  const sample = {
    atMs: nowMs,
    spentMicros,
    allowed: Number(state.allowed),
    refused: Number(state.refused),
  };
  // An actor that slept counts from zero again: what came before says nothing of a rate.
  const last = samples.at(-1);
  if (last !== undefined && last.allowed + last.refused > sample.allowed + sample.refused) {
    samples.length = 0;
  }
  samples.push(sample);
  if (samples.length > SAMPLES_MAX + 1) samples.shift();
  const first = samples[0] ?? sample;
  const overMs = sample.atMs - first.atMs;
  const per = (unitMs: number, amount: number) =>
    overMs <= 0 ? 0 : (Math.max(0, amount) / overMs) * unitMs;
  const refused = sample.refused - first.refused;
  return {
    agent: state.agent,
    standing: state.standing,
    spentMicros,
    heldMicros: Number(state.held?.usdMicros ?? 0n),
    usdMicrosPerHour: Math.round(per(MS_PER_HOUR, spentMicros - first.spentMicros)),
    requestsPerSecond: per(MS_PER_SECOND, sample.allowed - first.allowed + refused),
    refusedPerSecond: per(MS_PER_SECOND, refused),
    streams: state.openStreams,
    connections: state.openConnections,
  };
}

function byUrgency(left: BoardRow, right: BoardRow): number {
  return (
    right.standing - left.standing ||
    right.usdMicrosPerHour - left.usdMicrosPerHour ||
    right.requestsPerSecond - left.requestsPerSecond ||
    (left.agent < right.agent ? -1 : 1)
  );
}

/** Whether there is anything to look at: what stands at normal and does nothing is noise. */
export function isQuiet(row: BoardRow): boolean {
  return row.standing <= Standing.NORMAL && row.connections === 0 && row.requestsPerSecond === 0;
}
