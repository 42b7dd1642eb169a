import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { openSealed, seal } from "../mesh/sealed.ts";
import { nodeKeyOf } from "../mesh/trust.ts";
import { type Bus, BusFault, type BusFaultCode } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import type { Keys, Signer } from "../ports/keys.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import {
  type NodeAnswer,
  NodeAnswerSchema,
  type NodeCall,
  NodeCallSchema,
} from "../proto/gen/altrace/v1/mesh_pb.ts";
import { callSubject } from "../proto/subjects.ts";
import type { Replica } from "./replica.ts";

/** A node asks the ledger in its turn, and waits 2 s for that. */
const CALL_TIMEOUT_MS = 4_000;

/** Why a call has no answer that counts. It may have been done all the same, but for `no_responders`. */
export type CallFault =
  | BusFaultCode
  /** What came is not sealed by the key that the mesh knows of that node, or answers something else. */
  | "answer_untrusted";

export type CallResult =
  | { readonly body: Exclude<NodeAnswer["body"], { readonly case: undefined }> }
  | { readonly fault: CallFault };

export type NodeCallsDeps = {
  readonly bus: Pick<Bus, "ask" | "send">;
  readonly signer: Signer;
  readonly replica: Pick<Replica, "trust">;
  readonly verify: Keys["verify"];
  readonly clock: Clock;
  readonly random: Random;
};

/** Asks one node to do what it alone may do. Every call is signed, every answer checked. */
export class NodeCalls {
  readonly #deps: NodeCallsDeps;

  constructor(deps: NodeCallsDeps) {
    this.#deps = deps;
  }

  async ask(node: string, body: NodeCall["body"]): Promise<CallResult> {
    const { bus, signer, clock, random } = this.#deps;
    const requestId = uuidV7(clock.nowMs(), random);
    const call = toBinary(NodeCallSchema, create(NodeCallSchema, { node, requestId, body }));
    try {
      const sealed = seal("call", call, signer);
      const answer = this.#open(node, await bus.ask(callSubject(node), sealed, CALL_TIMEOUT_MS));
      const isAnswer = answer?.node === node && answer.requestId === requestId;
      if (!isAnswer || answer.body.case === undefined) return { fault: "answer_untrusted" };
      return { body: answer.body };
    } catch (error) {
      if (error instanceof BusFault) return { fault: error.code };
      throw error;
    }
  }

  /** The same without an answer: whether it was heard shows by what the node does. */
  tell(node: string, body: NodeCall["body"]): void {
    const { bus, signer, clock, random } = this.#deps;
    const requestId = uuidV7(clock.nowMs(), random);
    const call = toBinary(NodeCallSchema, create(NodeCallSchema, { node, requestId, body }));
    try {
      bus.send(callSubject(node), seal("call", call, signer));
    } catch (error) {
      if (!(error instanceof BusFault)) throw error;
    }
  }

  #open(node: string, bytes: Uint8Array): NodeAnswer | undefined {
    const { replica, verify, clock } = this.#deps;
    const keyOf = nodeKeyOf(replica.trust, node, clock.nowMs());
    const opened = openSealed("answer", bytes, keyOf, verify);
    return opened && decode(opened.payload);
  }
}

function decode(bytes: Uint8Array): NodeAnswer | undefined {
  try {
    return fromBinary(NodeAnswerSchema, bytes);
  } catch {
    return undefined;
  }
}
