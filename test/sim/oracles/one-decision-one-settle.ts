import type { Oracle } from "./oracle.ts";

type Count = { readonly bootId: string; allows: number; settles: number; sent: number };

export const oneDecisionOneSettle: Oracle = {
  name: "one-decision-one-settle",
  rule: "Every request that reaches the provider has exactly one decision that allowed it, before; and no request has more than one outcome, nor, unless its node or its log's disk went down, none.",
  watch: ({ nodes }) => {
    const counts = new Map<string, Count>();
    const countOf = (requestId: string, bootId: string): Count => {
      const count = counts.get(requestId) ?? { bootId, allows: 0, settles: 0, sent: 0 };
      counts.set(requestId, count);
      return count;
    };
    const denied = new Set<string>();
    return {
      on: (event) => {
        if (event.t === "sent") {
          const count = countOf(event.requestId, event.bootId);
          count.sent += 1;
          if (count.allows !== 1) return `${event.requestId} was sent after ${count.allows} allows`;
          if (count.sent > 1) return `${event.requestId} was sent twice`;
          if (count.settles > 0) return `${event.requestId} was sent after its settlement`;
        }
        if (event.t === "decided" && event.record.ph === "request") {
          const { rid, dec } = event.record;
          if (denied.has(rid)) return `${rid} was decided again`;
          if (dec === "deny") denied.add(rid);
          if (dec === "deny") return counts.has(rid) ? `${rid} was decided twice` : undefined;
          const count = countOf(rid, event.bootId);
          count.allows += 1;
          if (count.allows > 1) return `${rid} was allowed twice`;
        }
        if (event.t === "settled") {
          const count = countOf(event.record.rid, event.bootId);
          count.settles += 1;
          if (count.settles > 1) return `${event.record.rid} was settled twice`;
          if (count.allows === 0) return `${event.record.rid} was settled and never allowed`;
        }
        return undefined;
      },
      atEnd: () => {
        for (const [requestId, { bootId, allows, settles }] of counts) {
          const isAlive = nodes.some(({ run }) => run?.bootId === bootId);
          if (isAlive && allows === 1 && settles === 0) return `${requestId} was never settled`;
        }
        return undefined;
      },
    };
  },
};
