import type { JournalLease, SimEvent } from "../sim-event.ts";
import type { Judged, Oracle } from "./oracle.ts";
import { chargeOf } from "./spent-within-granted.ts";

type LeaseEvent = Extract<SimEvent, { t: "lease" }>;

export const leaseRules: Oracle = {
  name: "lease-rules",
  rule: "The ledger's journal grants within limits (I1), once a request (I5), under one epoch after another (I6), expires after its node (I7), and settles upwards and once (I8); what it has said stays said, whatever the stream loses (J3).",
  watch: (world) => {
    const limits = new Map<string, number>();
    for (const [team, { usdMicros, agents }] of world.budgets) {
      limits.set(`team/${team}`, usdMicros);
      for (const [name, budget] of agents) limits.set(`agent/${team}/${name}`, budget.usdMicros);
    }
    const byRequest = new Map<string, string>();
    let epoch = 0;
    const granted = (event: LeaseEvent): string | undefined => {
      const { after } = event;
      const request = `${after.node} ${after.bootId} ${after.requestId}`;
      const other = byRequest.get(request);
      if (other !== undefined && other !== after.id) return `I5: ${request} has two leases`;
      byRequest.set(request, after.id);
      if (after.epoch < epoch) return `I6: a grant of epoch ${after.epoch} after ${epoch}`;
      epoch = after.epoch;
      return withinLimits(world, after, limits);
    };
    return {
      on: (event) => {
        if (event.t === "limited") raise(limits, event);
        if (event.t === "undone") {
          if (event.isKept) return `J3: link ${event.n} was kept, and is undone`;
          for (const [request, id] of byRequest) {
            if (!world.plane.journal.leases.has(id)) byRequest.delete(request);
          }
        }
        if (event.t !== "lease") return undefined;
        const { before, after } = event;
        if (after.spent.usd_micros > after.amount.usd_micros) return `I3: ${after.id} spent more`;
        if (before === undefined) return granted(event);
        return settledUpwards(before, after) ?? expiredInOrder(world, before, after);
      },
    };
  },
};

/** A contract's is no limit of policy's; another oracle looks at what it was granted. */
function raise(
  limits: Map<string, number>,
  { account, usdMicros }: Extract<SimEvent, { t: "limited" }>,
): void {
  const known = limits.get(account);
  if (known !== undefined) limits.set(account, Math.max(known, usdMicros));
}

function withinLimits(
  { plane }: Judged,
  granted: JournalLease,
  limits: ReadonlyMap<string, number>,
): string | undefined {
  const hour = (lease: JournalLease): number => Math.floor(lease.grantedAtMs / 3_600_000);
  for (const account of granted.chain) {
    const limit = limits.get(account);
    if (limit === undefined) continue;
    let sum = 0;
    for (const lease of plane.journal.leases.values()) {
      // Worlds begin shortly before or after an hour, so a window is an hour or all there is.
      if (lease.chain.includes(account) && hour(lease) === hour(granted)) sum += chargeOf(lease);
    }
    if (sum > limit) return `I1: ${account} is charged ${sum} of ${limit} after ${granted.id}`;
  }
  return undefined;
}

function settledUpwards(before: JournalLease, after: JournalLease): string | undefined {
  if (after.spent.usd_micros < before.spent.usd_micros) return `I8: ${after.id} unspent`;
  if (after.amount.usd_micros > before.amount.usd_micros) return `I8: ${after.id} grew`;
  if (before.status === "final" && after.status !== "final") return `I8: ${after.id} reopened`;
  if (before.status === "expired" && after.status === "open") return `I8: ${after.id} revived`;
  return undefined;
}

/** A node that still has the lease must have stopped spending from it by its own clock. */
function expiredInOrder(
  { nodes }: Judged,
  before: JournalLease,
  after: JournalLease,
): string | undefined {
  if (before.status !== "open" || after.status !== "expired") return undefined;
  const run = nodes.map((node) => node.run).find((one) => one?.bootId === after.bootId);
  const book = run?.control.actors.view(after.chain[0] as string)?.state.book;
  const held = book?.leases.find(({ id }) => id === after.id);
  if (run === undefined || held === undefined) return undefined;
  const leftNs = held.deadlineNs - run.process.clock.monoNs();
  return leftNs > 0n ? `I7: ${after.id} has ${leftNs} ns left on its node` : undefined;
}
