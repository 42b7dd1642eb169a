import type { ControlPlane } from "../control-plane.ts";
import type { SimTime } from "../sim-clock.ts";
import type { SimEvent } from "../sim-event.ts";
import type { SimNode } from "../sim-node.ts";
import type { Budgets } from "../sim-policy.ts";

/** What oracles see of a world beside what they are told: everything, from outside. */
export type Judged = {
  readonly time: SimTime;
  readonly plane: ControlPlane;
  readonly nodes: readonly SimNode[];
  readonly budgets: Budgets;
};

/** One rule, watching one run. Each member says what is wrong, or nothing. */
export type Watch = {
  /** After each event. */
  readonly on?: (event: SimEvent) => string | undefined;
  /** Now and then, between events. */
  readonly look?: () => string | undefined;
  /** When all faults are over, everybody was given time, and no request runs. */
  readonly atEnd?: () => string | undefined;
};

export type Oracle = {
  /** As its file. */
  readonly name: string;
  /** The rule, in one sentence. */
  readonly rule: string;
  readonly watch: (world: Judged) => Watch;
};

/** `team/agent` of an identity as records spell it. */
export function agentOf(spiffeId: string | undefined): string {
  return spiffeId?.split("/agent/")[1] ?? "";
}

/** Scopes under which a request can be killed: its agent's, its contract's, and of all whose authority it has. */
export function scopesOf(
  { plane }: Judged,
  of: { readonly agentId: string; readonly contractId: string | undefined },
): readonly string[] {
  const [team = ""] = of.agentId.split("/");
  const above = plane.journal.chainOf(of.contractId);
  const contracts = above.map(({ id }) => `contract/${id}`);
  const delegators = above.slice(1).map(({ agent }) => `agent/${agent}`);
  return ["global", `team/${team}`, `agent/${of.agentId}`, ...contracts, ...delegators];
}
