import type { MessageInitShape } from "@bufbuild/protobuf";
import type { WatchDecisionsRequestSchema } from "../../proto/gen/altrace/v1/node_service_pb.ts";
import type { Told } from "../violations-verdict.ts";
import type { Operator } from "./operator.ts";

export type WatchFilter = MessageInitShape<typeof WatchDecisionsRequestSchema>;

/** Somebody who watches a node's decisions by a filter, from its start to its disposal. */
export class RefusalWatch implements AsyncDisposable {
  /** Request ids, as they came. */
  readonly told: Told[] = [];
  /** What the node says it left out because this one was too slow. */
  missed = 0;
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;

  constructor(operator: Operator, filter: WatchFilter) {
    this.#ended = this.#watch(operator, filter);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  async #watch(operator: Operator, filter: WatchFilter): Promise<void> {
    const { signal } = this.#stop;
    try {
      for await (const said of operator.node.calls.watchDecisions(filter, { signal })) {
        const atMs = Date.now();
        this.missed += Number(said.missed);
        if (said.decision) this.told.push({ key: said.decision.requestId, atMs });
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}
