import type { Clock } from "../ports/clock.ts";
import type { AskMesh } from "./ask-mesh.ts";
import type { MeshAnswer, MeshStatus } from "./mesh-status.ts";
import type { ControlToMesh, MeshToControl } from "./thread-messages.ts";
import type { ThreadPort } from "./thread-port.ts";

/** How long the mesh thread may take to say how it is. */
const STATUS_TIMEOUT_MS = 500;
/** How long it may take before an end goes on without it: long enough for one that a busy machine holds up. */
export const LIFE_TIMEOUT_MS = 2_000;
/** What the mesh thread may need beyond the time that it gives the coordinator. */
const ASK_MARGIN_MS = 500;
/** A mesh thread that does not answer: the node closes by itself, and this is why. */
const SILENT: MeshStatus = {
  open: false,
  busUp: false,
  digestAgeMs: undefined,
  lastSeq: 0,
  stateHash: "",
  closedBecause: ["mesh_thread_silent"],
  coordinators: { names: [], trusted: 0 },
};

/** The control thread's end of the mesh thread. Every question has an answer, even if it hangs. */
export class MeshThreadLink {
  readonly #worker: ThreadPort;
  readonly #clock: Clock;
  readonly #asks = new Map<number, (reply: MeshAnswer | undefined) => void>();
  readonly #statuses = new Map<number, (status: MeshStatus) => void>();
  #lastId = 0;
  #niceness = 0;
  #isGivenUp = false;

  constructor(worker: ThreadPort, clock: Clock) {
    this.#worker = worker;
    this.#clock = clock;
    worker.on("message", (message: MeshToControl) => {
      if (message.t === "answer") settle(this.#asks, message.id, message.reply);
      if (message.t === "status") settle(this.#statuses, message.id, message.status);
      if (message.t === "priority") this.#niceness = message.niceness;
    });
  }

  /** Asks the control plane; the mesh thread signs the request and checks the answer. */
  readonly ask: AskMesh = (method, request, timeoutMs) =>
    new Promise((resolve) => {
      if (this.#isGivenUp) {
        resolve(undefined);
        return;
      }
      const id = ++this.#lastId;
      const limitMs = timeoutMs + ASK_MARGIN_MS;
      const cancel = this.#clock.after(limitMs, () => settle(this.#asks, id, undefined));
      this.#asks.set(id, (reply) => {
        cancel();
        resolve(reply);
      });
      this.post({ t: "ask", id, method, request, timeoutMs });
    });

  status(): Promise<MeshStatus> {
    return this.#statusWithin(STATUS_TIMEOUT_MS);
  }

  /**
   * Whether the thread still lives. One that does not is given up: whatever was asked of it has no answer, and neither has
   * what is asked from then on. For an end, which would otherwise wait for each question's time.
   */
  async lives(): Promise<boolean> {
    this.#isGivenUp = (await this.#statusWithin(LIFE_TIMEOUT_MS)) === SILENT;
    if (this.#isGivenUp) for (const id of this.#asks.keys()) settle(this.#asks, id, undefined);
    return !this.#isGivenUp;
  }

  /** Tells it to end. Resolves once it has closed all that it had: that its thread is gone takes longer. */
  stop(): Promise<true> {
    return new Promise((resolve) => {
      this.onMessage(({ t }) => t === "stopped" && resolve(true));
      this.post({ t: "stop" });
    });
  }

  /** Whether it was found not to live. */
  get isGivenUp(): boolean {
    return this.#isGivenUp;
  }

  #statusWithin(limitMs: number): Promise<MeshStatus> {
    return new Promise((resolve) => {
      const id = ++this.#lastId;
      const cancel = this.#clock.after(limitMs, () => settle(this.#statuses, id, SILENT));
      this.#statuses.set(id, (status) => {
        cancel();
        resolve(status);
      });
      this.post({ t: "status", id });
    });
  }

  /** The mesh thread's niceness, as it said last. */
  get niceness(): number {
    return this.#niceness;
  }

  post(message: ControlToMesh): void {
    const transfer = message.t === "loop_port" ? [message.port] : [];
    this.#worker.postMessage(message, transfer);
  }

  onMessage(fn: (message: MeshToControl) => void): void {
    this.#worker.on("message", fn);
  }
}

function settle<T>(waiting: Map<number, (value: T) => void>, id: number, value: T): void {
  const answer = waiting.get(id);
  waiting.delete(id);
  answer?.(value);
}
