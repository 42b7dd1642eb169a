import type { Clock } from "../ports/clock.ts";
import type { LoopLink } from "./loop-link.ts";
import type { ConnectionInfo, ControlToLoop, LoopToControl } from "./thread-messages.ts";

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
        if (message.t !== "connections" && message.t !== "metrics") return;
        this.#waiting.get(message.id)?.(message);
      });
    }
  }

  async connections(): Promise<readonly ConnectionInfo[]> {
    const answers = await this.#askAll((id) => ({ t: "list_connections", id }));
    return answers.flatMap((message) => (message.t === "connections" ? message.items : []));
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
