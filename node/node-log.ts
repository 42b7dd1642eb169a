import type { Logger } from "pino";
import type { KernelFault } from "../proto/kernel-faults.ts";
import type { LadderChange } from "./actors/ladder.ts";
import type { LedgerBar } from "./ledger-link.ts";
import type { AgentEvent, MeshToControl, SettledItem } from "./thread-messages.ts";

/** Every line a node logs, by its event's name: a closed list. Never bodies, keys or prompts. */
export type NodeLog = {
  decision(event: AgentEvent): void;
  standing(agentId: string, change: LadderChange): void;
  overrun(item: SettledItem): void;
  /** Holds of this model are raised from now on: a bill here or on another node was so far above its own. */
  distrust(model: string, distrustMilli: number, by: "bill" | "mesh"): void;
  /** An operator has set what holds of this model count with, maybe lower than it was. */
  distrustSet(model: string, distrustMilli: number): void;
  /** The coordinator did not take over, yet, what a bill has shown; it is asked again. */
  distrustRefused(model: string, reason: string): void;
  policyOffered(version: number, sha256: string): void;
  policySwitched(version: number, sha256: string): void;
  policyRefused(version: number, message: string): void;
  /** The coordinator refuses this node whatever it asks, or, undefined, does no more. */
  ledgerBarred(bar: LedgerBar | undefined): void;
  fault(where: string, error: unknown): void;
  /** A call over TLS by somebody who may not make it. */
  callDenied(method: string, reason: string, message: string): void;
  /** Connections are greeted with a renewed certificate from here on, or, after an error, with the one before. */
  grpcRenewed(error?: unknown): void;
  /** Whether the host lets the thread that enforces kills come first. */
  meshPriority(priority: Extract<MeshToControl, { t: "priority" }>): void;
  /** What is wrong with this machine's kernel layer has changed; empty: nothing is. */
  kernel(faults: readonly KernelFault[]): void;
  started(facts: Readonly<Record<string, string | number>>): void;
  /** Another process waits for this one's end. */
  replaced(): void;
  stopped(reason: string): void;
};

export function nodeLog(logger: Logger): NodeLog {
  return {
    decision: ({ agentId, requestId, allowed, stage, reason }) => {
      const line = { event: "decision", agent: agentId, request: requestId, stage, reason };
      // Allowed requests are counted and recorded; a line for each would drown the others.
      if (allowed) logger.debug(line);
      else logger.info(line);
    },
    standing: (agentId, { from, to, cause }) =>
      logger.info({ event: "standing", agent: agentId, from, to, cause }),
    overrun: ({ agentId, requestId, model, overrunSpentMicros }) =>
      logger.warn({
        event: "overrun",
        agent: agentId,
        request: requestId,
        model,
        micros: Number(overrunSpentMicros),
      }),
    distrust: (model, distrustMilli, by) =>
      logger.error({ event: "price_distrust_raised", model, distrustMilli, by }),
    distrustSet: (model, distrustMilli) =>
      logger.warn({ event: "price_distrust_set", model, distrustMilli }),
    distrustRefused: (model, reason) =>
      logger.warn({ event: "price_distrust_not_shared", model, reason }),
    policyOffered: (version, sha256) => logger.info({ event: "policy_offered", version, sha256 }),
    policySwitched: (version, sha256) => logger.info({ event: "policy_in_force", version, sha256 }),
    policyRefused: (version, message) =>
      logger.error({ event: "policy_refused", version, message }),
    ledgerBarred: (bar) => {
      if (bar === undefined) return logger.info({ event: "node_taken_again" });
      logger.error({ event: "node_refused", reason: bar.reason, message: bar.message });
    },
    fault: (where, error) => logger.error({ event: "fault", where, err: error }),
    callDenied: (method, reason, message) =>
      logger.warn({ event: "call_denied", method, reason, message }),
    grpcRenewed: (error) => {
      if (error === undefined) logger.info({ event: "grpc_tls_renewed" });
      else logger.error({ event: "grpc_tls_not_renewed", err: error });
    },
    meshPriority: ({ way, niceness }) =>
      logger.info({ event: "mesh_thread_priority", way, niceness }),
    kernel: (faults) => {
      if (faults.length > 0) logger.error({ event: "kernel_layer", faults });
      else logger.info({ event: "kernel_layer", faults });
    },
    started: (facts) => logger.info({ event: "started", ...facts }),
    replaced: () => logger.info({ event: "replaced" }),
    stopped: (reason) => logger.info({ event: "stopped", reason }),
  };
}
