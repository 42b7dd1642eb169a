import { agentOf } from "./oracles/oracle.ts";
import type { SimEvent } from "./sim-event.ts";

/** One request as the outside knows it. Money in micro-dollars. */
export type KnownRequest = {
  readonly requestId: string;
  readonly agentId: string;
  readonly contractId: string | undefined;
  /** Who pays: `agent/<t>/<a>` or `contract/<id>`. */
  readonly account: string;
  readonly node: string;
  readonly bootId: string;
  /** World's time of the decision, ms. */
  readonly decidedMs: number;
  readonly held: number;
  readonly heldTokens: number;
  /** What the provider bills; undefined while it has seen nothing of it. */
  billed: number | undefined;
  billedTokens: number;
  isSettled: boolean;
  /** What the node charged for it. */
  charged: number;
};

/** Follows every allowed request from its decision to its bill. */
export class RequestLedger {
  readonly requests = new Map<string, KnownRequest>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** The request that the event is about, if it is about an allowed one. */
  take(event: SimEvent): KnownRequest | undefined {
    if (event.t === "decided") {
      const { record, node, bootId } = event;
      if (record.ph !== "request" || record.dec === "deny") return undefined;
      const request: KnownRequest = {
        requestId: record.rid,
        agentId: agentOf(record.ag),
        contractId: record.c?.id,
        account: record.c ? `contract/${record.c.id}` : `agent/${agentOf(record.ag)}`,
        node,
        bootId,
        decidedMs: this.#nowMs(),
        held: record.hold?.usd_u ?? 0,
        heldTokens: record.hold?.tok ?? 0,
        billed: undefined,
        billedTokens: 0,
        isSettled: false,
        charged: 0,
      };
      this.requests.set(record.rid, request);
      return request;
    }
    if (event.t === "sent") {
      const request = this.requests.get(event.requestId);
      if (request === undefined) return undefined;
      const { picos, inputTokens, outputTokens } = event.bill;
      request.billed = picos / 1e6;
      request.billedTokens = inputTokens + outputTokens;
      return request;
    }
    if (event.t !== "settled") return undefined;
    const request = this.requests.get(event.record.rid);
    if (request) {
      request.isSettled = true;
      request.charged = event.record.settled.usd_u;
    }
    return request;
  }
}
