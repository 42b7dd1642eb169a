import { AgentIds } from "./agent-ids.ts";
import type { NodeView } from "./api/node-view.ts";
import type { NodeParts } from "./app.ts";
import type { AuditLog } from "./audit-log.ts";
import type { Control } from "./control.ts";
import type { LoopQuestions } from "./loop-questions.ts";
import type { MachineWatch } from "./machine-watch.ts";
import type { MeshThreadLink } from "./mesh-thread-link.ts";
import { strangersNow } from "./strangers-now.ts";
import { isFresh, type Table } from "./table/table.ts";

const AGENT_PREFIX = "agent/";

/** Gathers what operators may see from the threads that know it. */
export function nodeView(of: {
  readonly parts: NodeParts;
  readonly control: Control;
  readonly mesh: MeshThreadLink;
  readonly questions: LoopQuestions;
  readonly audit: AuditLog;
  readonly table: Table;
  readonly machine: MachineWatch;
}): NodeView {
  const { parts, control, mesh, questions, audit, table, machine } = of;
  const { config, clock, version } = parts;
  const agentIds = new AgentIds({
    policy: () => control.policies.current,
    accounts: control.actors.accounts,
  });
  return {
    node: config.nodeId,
    version,
    loops: config.loops,
    nowMs: () => clock.nowMs(),
    ladder: () => control.policies.current?.ladder,
    actor: (agentId) => control.actors.view(`agent/${agentId}`),
    followActors: (tell) =>
      control.actors.accounts.follow((account) => {
        if (account.startsWith(AGENT_PREFIX)) tell(account.slice(AGENT_PREFIX.length));
      }),
    agentIds: () => agentIds.all(),
    killed: () => control.killed,
    feed: control.feed,
    lastDecisions: (agentId) => control.history.of(agentId),
    connections: () => questions.connections(),
    holds: () => questions.holds(),
    openByAgent: () => questions.openByAgent(),
    mesh: () => mesh.status(),
    policy: () => {
      const { current } = control.policies;
      return current && { version: current.version, sha256: current.sha256 };
    },
    policyRefusal: () => control.policies.refusal,
    closedBecause: async () => {
      const status = await mesh.status();
      const because = [...status.closedBecause];
      if (!isFresh(table, clock.monoNs()) && because.length === 0) because.push("mesh_stale");
      if (control.policies.current === undefined) because.push("policy_missing");
      else {
        if (!control.ledgerWay.isOpen) because.push("budget_unavailable");
        if (control.ledgerBar()?.reason === "boot_ended") because.push("boot_ended");
        if (control.inspection?.isAnswered === false) because.push("not_inspectable");
      }
      if (!audit.isWritable()) because.push("audit_unavailable");
      return because;
    },
    kernelFaults: () => machine.kernelFaults(),
    strangers: () => ({
      sightings: strangersNow({
        seen: control.strangers.all(),
        placement: machine.placement,
        policy: control.policies.current,
      }),
      unlisted: control.strangers.unlisted,
    }),
    recordsOf: (requestId) => audit.find(requestId),
  };
}
