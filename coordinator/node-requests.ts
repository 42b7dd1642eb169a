// What nodes ask of the control plane, on alt.req.<node>.<method>.
//
// Q1. A request counts under the key of the node that its subject names; enrolment under the key that
//     it brings. Anything else gets no answer at all.
// Q2. Every answer is sealed by this coordinator and names the request.
// Q3. Of several coordinators one answers: the ledger's leader, the one that is named, or the first.
// Q4. A node gets nothing for agents that are not placed on it, and nobody borrows for the killed.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { kidOf } from "../mesh/kid-of.ts";
import { openSealed, seal } from "../mesh/sealed.ts";
import { nodeKeyOf } from "../mesh/trust.ts";
import type { Bus, BusMessage } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import type { Keys, Signer } from "../ports/keys.ts";
import { StoreFault } from "../ports/store.ts";
import {
  type Answer,
  type BatchRequest,
  type NodeReply,
  NodeReplySchema,
  type NodeRequest,
  NodeRequestSchema,
  RefusedSchema,
} from "../proto/gen/altrace/v1/mesh_pb.ts";
import { REQUEST_PATTERN } from "../proto/subjects.ts";
import { writeAmounts, writeShortfall } from "./amounts.ts";
import type { Tell } from "./events.ts";
import type { LedgerRefusal } from "./ledger.ts";
import { LedgerFault } from "./ledger-actor.ts";
import type { Replica } from "./replica.ts";

export type ReplyBody = Exclude<NodeReply["body"], { case: undefined }>;

type Body = Exclude<NodeRequest["body"], { case: undefined }>;

/** Answers one kind of request whose sender is known. What comes in a batch is answered one by one. */
export type RequestHandlers = {
  readonly [M in Exclude<Body["case"], "batch">]: (
    body: Extract<NodeRequest["body"], { case: M }>["value"],
    from: RequestFrom,
  ) => ReplyBody | Promise<ReplyBody>;
};

/** A question that is answered by itself, however it came. */
type Single = Pick<NodeRequest, "node" | "bootId" | "requestId" | "body">;

export type RequestFrom = {
  readonly node: string;
  readonly bootId: string;
  readonly requestId: string;
};

export type NodeRequestsOptions = {
  readonly bus: Bus;
  readonly replica: Replica;
  readonly clock: Clock;
  readonly signer: Signer;
  readonly verify: Keys["verify"];
  readonly tell: Tell;
  readonly handlers: RequestHandlers;
  readonly replicaId: string;
  /** Whether what only the ledger's leader may answer is ours to answer. */
  readonly isLed: () => boolean;
  /** Requests that are being answered; what comes beyond is dropped, and nodes ask again. */
  readonly inFlightMax: number;
  /** Counts every request by method and outcome. */
  readonly count: (method: string, outcome: string) => void;
};

/** Why a request gets no answer. */
type OpenRefusal = "unauthenticated" | "malformed";

/** What moves money, what is remembered by one coordinator alone, and what must happen once. */
const OF_THE_LEADER: ReadonlySet<string> = new Set([
  "lease",
  "settle",
  "batch",
  "standing",
  "contract",
  "enrol",
  "carve",
  "distrust",
  "rate",
]);
/** Questions of one batch at most. */
const BATCH_QUESTIONS_MAX = 256;
const ID_PATTERN = /^[A-Za-z0-9-]{1,64}$/;

export class NodeRequests {
  readonly #options: NodeRequestsOptions;
  #inFlight = 0;
  #stop: () => void = () => undefined;

  constructor(options: NodeRequestsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#stop = this.#options.bus.listen(REQUEST_PATTERN, (message) => void this.#take(message));
  }

  stop(): void {
    this.#stop();
  }

  async #take(message: BusMessage): Promise<void> {
    const [, , node = "", method = ""] = message.subject.split(".");
    const { inFlightMax, count, tell, isLed, replicaId } = this.#options;
    // Every coordinator hears every question; silence leaves the answer to the one whose it is.
    if (OF_THE_LEADER.has(method) && !isLed()) return count(method, "not_leader");
    if (this.#inFlight >= inFlightMax) return count(method, "dropped");
    const request = this.#open(message, node, method);
    if (typeof request === "string") {
      count("unknown", request);
      // A node that is about to enrol asks before it may, and that is nobody's fault.
      if (this.#isKnown(node)) {
        tell("request_refused", { subject: message.subject, reason: request });
      }
      return;
    }
    const { body: question } = request;
    if (question.case === "nonce" && !["", replicaId].includes(question.value.replica)) return;
    if (question.case === "ship" && question.value.replica !== replicaId) return;
    this.#inFlight += 1;
    try {
      const { requestId } = request;
      const body =
        request.body.case === "batch"
          ? await this.#answerAll(request, request.body.value)
          : await this.#answer(request);
      const reply: NodeReply = { $typeName: "altrace.v1.NodeReply", requestId, body };
      message.respond?.(seal("reply", toBinary(NodeReplySchema, reply), this.#options.signer));
    } catch (error) {
      // The bus is closed, or takes no message of that size. Whoever asked hears nothing and asks again.
      tell("reply_unsent", { subject: message.subject, error: String(error) });
    } finally {
      this.#inFlight -= 1;
    }
  }

  /** Together, so that the ledger writes once for all of them. */
  async #answerAll(batch: NodeRequest, { questions }: BatchRequest): Promise<ReplyBody> {
    const isNamed = questions.every(({ requestId }) => ID_PATTERN.test(requestId));
    if (questions.length > BATCH_QUESTIONS_MAX || !isNamed) {
      this.#options.count("batch", "malformed");
      return refusedBody("malformed_request", `1 to ${BATCH_QUESTIONS_MAX} named questions`);
    }
    const { node, bootId } = batch;
    const answers = await Promise.all(
      questions.map(async ({ requestId, body }): Promise<Answer> => {
        const answer = await this.#answer({ node, bootId, requestId, body });
        return { $typeName: "altrace.v1.Answer", requestId, body: answer as Answer["body"] };
      }),
    );
    return { case: "batch", value: { $typeName: "altrace.v1.BatchReply", answers } };
  }

  async #answer(request: Single): Promise<ReplyBody> {
    const answer = await this.#handled(request);
    const outcome = answer.case === "refused" ? answer.value.reason : "ok";
    this.#options.count(request.body.case ?? "unknown", outcome);
    return answer;
  }

  async #handled({ node, bootId, requestId, body }: Single): Promise<ReplyBody> {
    const handler = this.#options.handlers[body.case as keyof RequestHandlers] as
      | ((body: unknown, from: RequestFrom) => Promise<ReplyBody>)
      | undefined;
    if (handler === undefined) return refusedBody("malformed_request", "nothing is asked");
    try {
      return await handler(body.value, { node, bootId, requestId });
    } catch (error) {
      // The node closes or refuses on its own when it gets no money; it needs to know that and no more.
      // A disk that fails, or a ledger that another leads by now, is nobody's fault; anything else here is ours.
      const isOfDisk = error instanceof StoreFault || error instanceof LedgerFault;
      const event = isOfDisk ? "store_failed" : "handler_failed";
      this.#options.tell(event, { method: body.case, error: String(error) });
      return refusedBody("unavailable", "the coordinator could not answer; its log says why");
    }
  }

  #isKnown(node: string): boolean {
    return this.#options.replica.trust.nodeKey(node) !== undefined;
  }

  #open(message: BusMessage, node: string, method: string): NodeRequest | OpenRefusal {
    const { verify, replica, clock } = this.#options;
    const keyOf = method === "enrol" ? enrolKey : nodeKeyOf(replica.trust, node, clock.nowMs());
    const opened = openSealed("request", message.bytes, keyOf, verify);
    if (!opened) return "unauthenticated";
    const request = decode(opened.payload);
    if (request?.node !== node || request.body.case !== method) return "malformed";
    const isNamed = ID_PATTERN.test(request.requestId) && ID_PATTERN.test(request.bootId);
    return isNamed ? request : "malformed";
  }
}

/** A no, by reason. */
export function refusedBody(
  reason: string,
  message: string,
  { available, shortfall }: Pick<LedgerRefusal, "available" | "shortfall"> = {},
): ReplyBody {
  const value = create(RefusedSchema, {
    reason,
    message,
    ...(available !== undefined && { available: writeAmounts(available) }),
    ...(shortfall !== undefined && { shortfall: writeShortfall(shortfall) }),
  });
  return { case: "refused", value };
}

/** The key that an enrolment brings: its signature shows that the sender holds it. */
function enrolKey(kid: string, payload: Uint8Array): Uint8Array | undefined {
  const request = decode(payload);
  if (request?.body.case !== "enrol") return undefined;
  const { publicKey } = request.body.value;
  return publicKey.length === 32 && kidOf(publicKey) === kid ? publicKey : undefined;
}

function decode(bytes: Uint8Array): NodeRequest | undefined {
  try {
    const request = fromBinary(NodeRequestSchema, bytes);
    return request.$unknown ? undefined : request;
  } catch {
    return undefined;
  }
}
