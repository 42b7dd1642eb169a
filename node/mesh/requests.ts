import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Envelope, replyEnvelope, requestEnvelope } from "../../mesh/envelope.ts";
import { openSealed, seal } from "../../mesh/sealed.ts";
import { coordinatorKey, type TrustView } from "../../mesh/trust.ts";
import { type Bus, BusFault } from "../../ports/bus.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Keys, Signer } from "../../ports/keys.ts";
import { type Random, uuidV7 } from "../../ports/random.ts";
import {
  type NodeReply,
  NodeReplySchema,
  type NodeRequest,
  NodeRequestSchema,
} from "../../proto/gen/altrace/v1/mesh_pb.ts";
import { REQUEST_METHODS, type RequestMethod, requestSubject } from "../../proto/subjects.ts";
import type { MeshAnswer } from "../mesh-status.ts";

/** Requests of this node that wait for an answer. */
export const REQUESTS_WAITING_MAX = 1_000;

/** Why a request has no answer that counts. */
export type RequestFault =
  | "busy"
  | "malformed"
  | "timeout"
  | "no_responders"
  | "closed"
  | "too_large"
  | "unknown"
  /** The answer is not sealed by a coordinator that is trusted now. */
  | "reply_untrusted"
  /** The answer is to another request. */
  | "reply_mismatch";

export type RequestResult = { readonly reply: NodeReply } | { readonly fault: RequestFault };
/** The same, for whoever reads the reply in another thread. */
export type ForwardResult = { readonly answer: MeshAnswer } | { readonly fault: RequestFault };

export type RequestsDeps = {
  readonly node: string;
  readonly bootId: string;
  readonly bus: Bus;
  readonly signer: Signer;
  readonly trust: TrustView;
  readonly verify: Keys["verify"];
  readonly clock: Clock;
  readonly random: Random;
};

/** Asks the control plane in this node's name. Every request is signed, every answer checked. */
export class Requests {
  readonly #deps: RequestsDeps;
  #waiting = 0;

  constructor(deps: RequestsDeps) {
    this.#deps = deps;
  }

  newId(): string {
    return uuidV7(this.#deps.clock.nowMs(), this.#deps.random);
  }

  /** Asks, with a new request id unless this is another attempt at an earlier request. */
  async ask(
    body: NodeRequest["body"],
    options: { readonly timeoutMs: number; readonly requestId?: string },
  ): Promise<RequestResult> {
    const { node, bootId } = this.#deps;
    const requestId = options.requestId ?? this.newId();
    const request = create(NodeRequestSchema, { node, bootId, requestId, body });
    const bytes = toBinary(NodeRequestSchema, request);
    const result = await this.#send({ node, requestId, body: body.case }, bytes, options.timeoutMs);
    if ("fault" in result) return result;
    const reply = decode(() => fromBinary(NodeReplySchema, result.answer.bytes));
    return reply === undefined ? { fault: "reply_mismatch" } : { reply };
  }

  /** Passes on a request that another thread encoded: it must be this node's, and of that method. */
  async forward(method: string, bytes: Uint8Array, timeoutMs: number): Promise<ForwardResult> {
    const envelope = requestEnvelope(bytes);
    if (envelope?.node !== this.#deps.node || envelope.body !== method) {
      return { fault: "malformed" };
    }
    return this.#send(envelope, bytes, timeoutMs);
  }

  async #send(envelope: Envelope, bytes: Uint8Array, timeoutMs: number): Promise<ForwardResult> {
    const method = REQUEST_METHODS.find((name) => name === envelope.body);
    if (!method) return { fault: "malformed" };
    if (this.#waiting >= REQUESTS_WAITING_MAX) return { fault: "busy" };
    this.#waiting += 1;
    try {
      const sealed = seal("request", bytes, this.#deps.signer);
      return this.#open(envelope, await this.#ask(method, sealed, timeoutMs));
    } catch (error) {
      if (error instanceof BusFault) return { fault: error.code };
      throw error;
    } finally {
      this.#waiting -= 1;
    }
  }

  #ask(method: RequestMethod, sealed: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    return this.#deps.bus.ask(requestSubject(this.#deps.node, method), sealed, timeoutMs);
  }

  #open(asked: Envelope, bytes: Uint8Array): ForwardResult {
    const { trust, verify, clock } = this.#deps;
    const opened = openSealed("reply", bytes, coordinatorKey(trust, clock.nowMs()), verify);
    if (!opened) return { fault: "reply_untrusted" };
    const reply = replyEnvelope(opened.payload);
    const isAnswer = reply?.body === asked.body || reply?.body === "refused";
    if (!isAnswer || reply?.requestId !== asked.requestId) return { fault: "reply_mismatch" };
    return { answer: { bytes: opened.payload, kid: opened.kid } };
  }
}

function decode<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
