import { RequestLedger } from "../request-ledger.ts";
import type { Oracle } from "./oracle.ts";
import { chargeOf } from "./spent-within-granted.ts";

export const nothingLeaks: Oracle = {
  name: "nothing-leaks",
  rule: "Once all is at rest, the ledger has charged each agent and each contract exactly what its requests were charged, and no less where starts that ended badly left some of it unknown.",
  watch: (world) => {
    const ledger = new RequestLedger(() => world.time.nowMs);
    return {
      on: (event) => {
        ledger.take(event);
        return undefined;
      },
      atEnd: () => {
        const charged = new Map<string, number>();
        for (const { account, charged: amount } of ledger.requests.values()) {
          charged.set(account, (charged.get(account) ?? 0) + amount);
        }
        const journal = new Map<string, number>();
        for (const lease of world.plane.journal.leases.values()) {
          const account = lease.chain[0] as string;
          journal.set(account, (journal.get(account) ?? 0) + chargeOf(lease));
        }
        const hasCrashed = world.nodes.some(({ boots }) => boots > 1);
        for (const [account, amount] of charged) {
          const inJournal = journal.get(account) ?? 0;
          const isRight = hasCrashed ? inJournal >= amount : inJournal === amount;
          if (!isRight) return `${account} was charged ${amount}, the ledger says ${inJournal}`;
        }
        return undefined;
      },
    };
  },
};
