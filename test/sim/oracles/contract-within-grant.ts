import { RequestLedger } from "../request-ledger.ts";
import type { Oracle } from "./oracle.ts";

type Spent = { usd_micros: number; tokens: number; calls: number };

export const contractWithinGrant: Oracle = {
  name: "contract-within-grant",
  rule: "What the provider bills under a contract and under all that was delegated from it stays within what it was granted, in each unit, up to what the overrun account bounds.",
  watch: ({ plane, time }) => {
    const ledger = new RequestLedger(() => time.nowMs);
    /** By contract, what was delegated from it included. */
    const spent = new Map<string, Spent>();
    return {
      on: (event) => {
        const request = ledger.take(event);
        if (event.t !== "sent" || request?.contractId === undefined) return undefined;
        const chain = plane.journal.chainOf(request.contractId);
        if (chain.length === 0) return `${request.contractId} was never opened, and spends`;
        for (const { id, limit } of chain) {
          const sum = spent.get(id) ?? { usd_micros: 0, tokens: 0, calls: 0 };
          sum.usd_micros += Math.min(request.billed ?? 0, request.held);
          sum.tokens += Math.min(request.billedTokens, request.heldTokens);
          sum.calls += 1;
          spent.set(id, sum);
          for (const unit of ["usd_micros", "tokens", "calls"] as const) {
            if (sum[unit] <= limit[unit]) continue;
            return `${id} and below spent ${Math.round(sum[unit])} of ${limit[unit]} ${unit}`;
          }
        }
        return undefined;
      },
    };
  },
};
