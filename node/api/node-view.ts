import type { AuditRecord } from "../../audit/record.ts";
import type { LadderPolicy } from "../../policy/compiled-policy.ts";
import type { KernelFault } from "../../proto/kernel-faults.ts";
import type { ActorView } from "../actors/seat.ts";
import type { DecisionFeed } from "../decision-feed.ts";
import type { MeshStatus } from "../mesh-status.ts";
import type { HoldInfo } from "../open-holds.ts";
import type { StrangerSighting } from "../stranger-sightings.ts";
import type { AgentEvent, AgentOpen, ConnectionInfo } from "../thread-messages.ts";

/** What operators may see of a running node. Nothing in here can change it. */
export type NodeView = {
  readonly node: string;
  readonly version: string;
  readonly loops: number;
  /** Wall clock, ms since the Unix epoch. */
  nowMs(): number;
  /** The ladder of the policy in force. */
  ladder(): LadderPolicy | undefined;
  actor(agentId: string): ActorView | undefined;
  /**
   * Tells of each agent whose `actor` may be another than before, once it is. What a request has open is taken from
   * its balance first and told when it has ended.
   */
  followActors(tell: (agentId: string) => void): void;
  /** Agents that policy names or that did something here, in order. */
  agentIds(): readonly string[];
  /** Scopes that are killed now; another set after each change. */
  killed(): ReadonlySet<string>;
  lastDecisions(agentId: string): readonly AgentEvent[];
  /** Decisions as they are made. */
  readonly feed: DecisionFeed;
  /** Open exchanges of all loops; a loop that does not answer in time is left out. */
  connections(): Promise<readonly ConnectionInfo[]>;
  /** Money held for requests under way, on all loops. */
  holds(): Promise<readonly HoldInfo[]>;
  /** What each agent has open, counted in full. Agents that have nothing open are left out. */
  openByAgent(): Promise<ReadonlyMap<string, AgentOpen>>;
  mesh(): Promise<MeshStatus>;
  policy(): { readonly version: number; readonly sha256: string } | undefined;
  policyRefusal(): string | undefined;
  /** Why this node allows nothing now; empty when it does. */
  closedBecause(): Promise<readonly string[]>;
  /** What is wrong with this machine's kernel layer; undefined where none is to be there. */
  kernelFaults(): readonly KernelFault[] | undefined;
  /** Who tried to get out and is no agent, and pods that nobody has registered. */
  strangers(): {
    readonly sightings: readonly StrangerSighting[];
    /** Tries since the start whose source was not remembered. */
    readonly unlisted: number;
  };
  /** The log's records of one request, oldest first. */
  recordsOf(requestId: string): Promise<readonly AuditRecord[]>;
};
