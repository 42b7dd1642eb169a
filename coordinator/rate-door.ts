import { create } from "@bufbuild/protobuf";
import { eachMetric, type PerMetric, RATE_WHOLE, type RateLags } from "../mesh/rate-share.ts";
import { type Clock, monoMs } from "../ports/clock.ts";
import {
  type RateLags as RateLagsMessage,
  RateLagsSchema,
  type RateParts as RatePartsMessage,
  RatePartsSchema,
  RateReplySchema,
  type RateRequest,
  RecallCallSchema,
} from "../proto/gen/altrace/v1/mesh_pb.ts";
import type { NodeCalls } from "./node-calls.ts";
import { type ReplyBody, type RequestFrom, refusedBody } from "./node-requests.ts";
import type { Placement } from "./placement.ts";
import type { PolicyInHand } from "./policy-in-hand.ts";
import type { AgentRates } from "./policy-rates.ts";
import { PolicyView } from "./policy-view.ts";
import { RateShares } from "./rate-shares.ts";
import type { Registry } from "./registry.ts";
import { ReplayGuard } from "./replay-guard.ts";
import type { Replica } from "./replica.ts";

export type RateDoorOptions = {
  readonly clock: Clock;
  readonly replica: Replica;
  readonly policy: Pick<PolicyInHand, "now">;
  readonly registry: Registry;
  readonly placement: Placement;
  readonly replays: ReplayGuard;
  readonly nodes: Pick<NodeCalls, "tell">;
  readonly ratesOf: (bundle: Uint8Array) => ReadonlyMap<string, AgentRates>;
};

/** Ids of contracts are UUIDs. */
const CONTRACT_ID_MAX = 64;

/** A share lasts for ten seconds, so that a node which is gone is missed for no longer. */
const SETTINGS = {
  ttlMs: 10_000,
  renewMs: 2_000,
  driftMilli: 10,
  guardMs: 1_000,
  poolsMax: 200_000,
  rowsMax: 200_000,
  rowsOfNodeMax: 65_536,
} as const;

/** What nodes ask about agents' rates, answered by the coordinator that leads the ledger. */
export class RateDoor {
  readonly #options: RateDoorOptions;
  readonly #shares = new RateShares(SETTINGS);
  /** A node may name any contracts: those it makes up push out none of what others were heard of. */
  readonly #contractReplays: ReplayGuard;
  readonly #rates: PolicyView<ReadonlyMap<string, AgentRates>>;

  constructor(options: RateDoorOptions) {
    this.#options = options;
    this.#contractReplays = new ReplayGuard(options.clock);
    this.#rates = new PolicyView(options.policy, options.ratesOf);
  }

  /** From here on this coordinator lends, and another one, or an earlier run, did until now. */
  begin(): void {
    this.#shares.begin(monoMs(this.#options.clock));
  }

  ask(request: RateRequest, from: RequestFrom): ReplyBody {
    const { registry, placement, replays, replica, clock } = this.#options;
    const { account, contract, held, release } = request;
    const { node, bootId, requestId } = from;
    if (!placement.isPlaced(node, account)) {
      return refusedBody("not_placed", `${account} is not placed on ${node}`);
    }
    if (!registry.isCurrentBoot(node, bootId)) {
      return refusedBody("boot_ended", `${bootId} of ${node} has ended`);
    }
    const rates = this.#rates.now?.get(account);
    const rate = contract === "" ? rates?.policy : rates?.contracts;
    if (rate === undefined) return refusedBody("account_unknown", `no rate for ${account}`);
    const lags = readLags(request.lags);
    if (lags === undefined) return refusedBody("malformed_request", "lags");
    if (contract.length > CONTRACT_ID_MAX) return refusedBody("malformed_request", "contract");
    // A recording of what the node had once would free what it has now.
    const guard = contract === "" ? replays : this.#contractReplays;
    if (!guard.pass(`${node} rate ${contract || account}`, requestId)) {
      return refusedBody(...guard.whyNot(requestId));
    }
    const loan = this.#shares.ask(
      {
        ...{ node, bootId, account, contract, lags, release },
        held: readParts(request.shares, held),
        needs: readParts(request.needs, 1),
        wants: readParts(request.wants, RATE_WHOLE),
      },
      { nowMs: monoMs(clock), rate, isAlone: replica.trust.nodeIds().length <= 1 },
    );
    for (const { node: other, ...row } of loan.recalls) {
      const value = create(RecallCallSchema, row);
      this.#options.nodes.tell(other, { case: "recall", value });
    }
    const [requests, tokens, usd] = loan.shares;
    const value = create(RateReplySchema, {
      share: Math.min(requests, tokens, usd),
      shares: create(RatePartsSchema, { requests, tokens, usd }),
      ttlMs: BigInt(loan.ttlMs),
      addedLags: writeLags(loan.addedLags),
      retryMs: BigInt(Math.ceil(loan.retryMs)),
    });
    return { case: "rate", value };
  }
}

/** A node of an earlier version says one number of all metrics, or nothing. */
function readParts(parts: RatePartsMessage | undefined, otherwise: number): PerMetric {
  const { requests, tokens, usd } = parts ?? {
    ...{ requests: otherwise, tokens: otherwise, usd: otherwise },
  };
  const read = [requests, tokens, usd] as const;
  return eachMetric((at) => Math.min(RATE_WHOLE, read[at]));
}

function readLags(lags: RateLagsMessage | undefined): RateLags | undefined {
  if (lags === undefined) return [0, 0, 0];
  const read = [lags.requestsUs, lags.tokensUs, lags.usdUs].map(Number);
  return read.every(Number.isSafeInteger) ? (read as unknown as RateLags) : undefined;
}

function writeLags([requests, tokens, usdMicros]: RateLags) {
  return create(RateLagsSchema, {
    requestsUs: BigInt(requests),
    tokensUs: BigInt(tokens),
    usdUs: BigInt(usdMicros),
  });
}
