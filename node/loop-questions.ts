import type { Clock } from "../ports/clock.ts";
import { plus } from "./actors/account-book.ts";
import type { LoopLink } from "./loop-link.ts";
import type { HoldInfo } from "./open-holds.ts";
import type { AgentOpen, ConnectionInfo, ControlToLoop, LoopToControl } from "./thread-messages.ts";

/** How long a loop may take to answer; one that is busier than that is left out of the answer. */
const ANSWER_TIMEOUT_MS = 1_000;

/** What the control thread asks of all loops at once, for operators and metrics. */
export class LoopQuestions {
  readonly #loops: readonly LoopLink[];
  readonly #clock: Clock;
  readonly #waiting = new Map<number, (message: LoopToControl | undefined) => void>();
  #lastId = 0;

  constructor(loops: readonly LoopLink[], clock: Clock) {
    this.#loops = loops;
    this.#clock = clock;
    for (const loop of loops) {
      loop.onMessage((message) => {
        const isAnswer =
          message.t === "connections" || message.t === "holds" || message.t === "open_by_agent";
        if (isAnswer || message.t === "metrics") this.#waiting.get(message.id)?.(message);
      });
    }
  }

  async connections(): Promise<readonly ConnectionInfo[]> {
    const answers = await this.#askAll((id) => ({ t: "list_connections", id }));
    return answers.flatMap((message) => (message.t === "connections" ? message.items : []));
  }

  /** What each agent has open on all loops together. */
  async openByAgent(): Promise<ReadonlyMap<string, AgentOpen>> {
    const sums = new Map<string, AgentOpen>();
    for (const message of await this.#askAll((id) => ({ t: "count_open", id }))) {
      if (message.t !== "open_by_agent") continue;
      for (const one of message.items) {
        const before = sums.get(one.agentId);
        sums.set(one.agentId, before === undefined ? one : together(before, one));
      }
    }
    return sums;
  }

  async holds(): Promise<readonly HoldInfo[]> {
    const answers = await this.#askAll((id) => ({ t: "list_holds", id }));
    return answers.flatMap((message) => (message.t === "holds" ? message.items : []));
  }

  async metrics(): Promise<readonly object[]> {
    const answers = await this.#askAll((id) => ({ t: "collect_metrics", id }));
    return answers.flatMap((message) => (message.t === "metrics" ? [message.json as object] : []));
  }

  async #askAll(question: (id: number) => ControlToLoop): Promise<readonly LoopToControl[]> {
    const answers = await Promise.all(this.#loops.map((loop) => this.#ask(loop, question)));
    return answers.filter((answer) => answer !== undefined);
  }

  #ask(
    loop: LoopLink,
    question: (id: number) => ControlToLoop,
  ): Promise<LoopToControl | undefined> {
    return new Promise((resolve) => {
      const id = ++this.#lastId;
      const finish = (message: LoopToControl | undefined) => {
        cancel();
        this.#waiting.delete(id);
        resolve(message);
      };
      const cancel = this.#clock.after(ANSWER_TIMEOUT_MS, () => finish(undefined));
      this.#waiting.set(id, finish);
      loop.post(question(id));
    });
  }
}

function together(left: AgentOpen, right: AgentOpen): AgentOpen {
  return {
    agentId: left.agentId,
    exchanges: left.exchanges + right.exchanges,
    streams: left.streams + right.streams,
    held: plus(left.held, right.held),
  };
}
