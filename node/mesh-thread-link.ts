import type { Worker } from "node:worker_threads";
import type { AskMesh } from "./ledger-link.ts";
import type { ControlToMesh, MeshStatus, MeshToControl } from "./thread-messages.ts";

/** The control thread's end of the mesh thread. */
export class MeshThreadLink {
  readonly #worker: Worker;
  readonly #asks = new Map<number, (reply: Uint8Array | undefined) => void>();
  readonly #statuses = new Map<number, (status: MeshStatus) => void>();
  #lastId = 0;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.on("message", (message: MeshToControl) => {
      if (message.t === "answer") this.#settle(this.#asks, message.id, message.reply);
      if (message.t === "status") this.#settle(this.#statuses, message.id, message.status);
    });
  }

  /** Asks the control plane; the mesh thread signs the request and checks the answer. */
  readonly ask: AskMesh = (method, request, timeoutMs) =>
    new Promise((resolve) => {
      const id = ++this.#lastId;
      this.#asks.set(id, resolve);
      this.post({ t: "ask", id, method, request, timeoutMs });
    });

  status(): Promise<MeshStatus> {
    return new Promise((resolve) => {
      const id = ++this.#lastId;
      this.#statuses.set(id, resolve);
      this.post({ t: "status", id });
    });
  }

  post(message: ControlToMesh): void {
    const transfer = message.t === "loop_port" ? [message.port] : [];
    this.#worker.postMessage(message, transfer);
  }

  onMessage(fn: (message: MeshToControl) => void): void {
    this.#worker.on("message", fn);
  }

  #settle<T>(waiting: Map<number, (value: T) => void>, id: number, value: T): void {
    waiting.get(id)?.(value);
    waiting.delete(id);
  }
}
