// What the control plane asks of this node, on alt.call.<node>.
//
// C1. A call counts under the key of a coordinator that is trusted now, and for the node that it names. Anything
//     else gets no answer at all.
// C2. Every answer is sealed by this node and names the call.
// C3. A call may come twice, and late: what it asks for is done once whatever comes.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { RateRow } from "../../mesh/rate-share.ts";
import { openSealed, seal } from "../../mesh/sealed.ts";
import { coordinatorKey, type TrustView } from "../../mesh/trust.ts";
import type { Bus, BusMessage } from "../../ports/bus.ts";
import type { Clock } from "../../ports/clock.ts";
import { errorMessage } from "../../ports/error-message.ts";
import type { Keys, Signer } from "../../ports/keys.ts";
import {
  FundAnswerSchema,
  type NodeAnswer,
  NodeAnswerSchema,
  type NodeCall,
  NodeCallSchema,
  RefusedSchema,
} from "../../proto/gen/altrace/v1/mesh_pb.ts";
import { callSubject } from "../../proto/subjects.ts";
import type { DelegationAnswer, Funding } from "../thread-messages.ts";

/** Calls that are being answered at once; what comes beyond is refused, and may be asked again. */
export const CALLS_IN_FLIGHT_MAX = 16;

export type CallsDeps = {
  readonly node: string;
  readonly bus: Pick<Bus, "listen">;
  readonly signer: Signer;
  readonly trust: TrustView;
  readonly verify: Keys["verify"];
  readonly clock: Clock;
  /** Has a contract carved whose delegator this node serves. */
  readonly fund: (funding: Funding) => Promise<DelegationAnswer>;
  /** A row has more of a rate than others leave it: the coordinator is asked about it now. */
  readonly recall: (row: RateRow) => void;
};

type AnswerBody = NodeAnswer["body"];

/** Answers what coordinators ask of this node. */
export class Calls {
  readonly #deps: CallsDeps;
  #inFlight = 0;

  constructor(deps: CallsDeps) {
    this.#deps = deps;
  }

  /** Returns the way to stop. */
  listen(): () => void {
    const { bus, node } = this.#deps;
    return bus.listen(callSubject(node), (message) => void this.#take(message));
  }

  async #take({ bytes, respond }: BusMessage): Promise<void> {
    const { node, signer } = this.#deps;
    const call = this.#open(bytes);
    if (call?.body.case === "recall") {
      const { account, contract } = call.body.value;
      this.#deps.recall({ account, contract });
      return;
    }
    if (call === undefined || respond === undefined) return;
    const answer = create(NodeAnswerSchema, {
      node,
      requestId: call.requestId,
      body: await this.#answer(call),
    });
    try {
      respond(seal("answer", toBinary(NodeAnswerSchema, answer), signer));
    } catch {
      // The bus is closed: whoever asked hears nothing and asks again.
    }
  }

  async #answer({ body }: NodeCall): Promise<AnswerBody> {
    if (body.case !== "fund") return refused("malformed_request", "nothing that is known is asked");
    if (this.#inFlight >= CALLS_IN_FLIGHT_MAX) {
      return refused("contract_unavailable", `${CALLS_IN_FLIGHT_MAX} calls are being answered`);
    }
    this.#inFlight += 1;
    try {
      const { chain, node } = body.value;
      const funded = await this.#deps.fund({ chain, node });
      return "refused" in funded
        ? refused(funded.refused, funded.detail)
        : { case: "fund", value: create(FundAnswerSchema, { contract: funded.contract }) };
    } catch (error) {
      return refused("contract_unavailable", errorMessage(error));
    } finally {
      this.#inFlight -= 1;
    }
  }

  /** C1. */
  #open(bytes: Uint8Array): NodeCall | undefined {
    const { node, trust, verify, clock } = this.#deps;
    const opened = openSealed("call", bytes, coordinatorKey(trust, clock.nowMs()), verify);
    const call = opened && decode(opened.payload);
    return call?.node === node ? call : undefined;
  }
}

function refused(reason: string, message: string): AnswerBody {
  return { case: "refused", value: create(RefusedSchema, { reason, message }) };
}

function decode(bytes: Uint8Array): NodeCall | undefined {
  try {
    return fromBinary(NodeCallSchema, bytes);
  } catch {
    return undefined;
  }
}
