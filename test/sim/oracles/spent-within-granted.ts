import { type KnownRequest, RequestLedger } from "../request-ledger.ts";
import type { JournalLease } from "../sim-event.ts";
import type { Judged, Oracle } from "./oracle.ts";

export const spentWithinGranted: Oracle = {
  name: "spent-within-granted",
  rule: "What the agents of one start of a node hold and spend is never more than what its leases are charged (I2, I3).",
  watch: (world) => {
    const ledger = new RequestLedger(() => world.time.nowMs);
    /** By start and account. */
    const byHolder = new Map<string, KnownRequest[]>();
    const judge = (bootId: string, account: string): string | undefined => {
      const exposed = (byHolder.get(`${bootId} ${account}`) ?? [])
        .map((request) => exposureOf(request, world))
        .reduce((sum, one) => sum + one, 0);
      const granted = grantedTo(world, { bootId, account });
      if (exposed <= granted) return undefined;
      return `${account} under ${bootId} holds and spent ${Math.round(exposed)}, leases are charged ${granted}`;
    };
    return {
      on: (event) => {
        if (event.t === "lease") {
          const { bootId, chain } = event.after;
          const account = chain[0] as string;
          return account === "overrun" ? undefined : judge(bootId, account);
        }
        const request = ledger.take(event);
        if (request === undefined) return undefined;
        const holder = `${request.bootId} ${request.account}`;
        const known = byHolder.get(holder) ?? [];
        if (event.t === "decided") byHolder.set(holder, [...known, request]);
        return event.t === "settled" ? undefined : judge(request.bootId, request.account);
      },
    };
  },
};

/** What is billed above a hold is the overrun account's. */
function exposureOf(request: KnownRequest, { nodes }: Judged): number {
  if (request.billed !== undefined) return Math.min(request.billed, request.held);
  const isAlive = nodes.some(({ run }) => run?.bootId === request.bootId);
  return isAlive && !request.isSettled ? request.held : 0;
}

function grantedTo(
  { plane }: Judged,
  of: { readonly bootId: string; readonly account: string },
): number {
  let sum = 0;
  for (const lease of plane.journal.leases.values()) {
    if (lease.bootId !== of.bootId || lease.chain[0] !== of.account) continue;
    sum += chargeOf(lease);
  }
  return sum;
}

/** What is not known to be unspent counts as spent. */
export function chargeOf({ status, spent, amount }: JournalLease): number {
  return (status === "final" ? spent : amount).usd_micros;
}
