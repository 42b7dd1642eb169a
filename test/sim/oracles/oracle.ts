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

/** Scopes under which an agent can be killed. */
export function scopesOf(agentId: string): readonly string[] {
  const [team = ""] = agentId.split("/");
  return ["global", `team/${team}`, `agent/${agentId}`];
}
