import { once } from "node:events";
import type { AltraceProcess } from "./run-altrace.ts";
import { waitUntil } from "./wait-until.ts";

/** Arguments of node under which `stopThread` can reach a process. */
export const INSPECTABLE = ["--inspect=127.0.0.1:0"] as const;

/**
 * Makes one thread of a running process hang for good, as a bug or the kernel could: it waits for a
 * word that nobody writes. All other threads go on. Node's own debugger does it from outside, so
 * the product knows nothing of it.
 *
 * @param thread The name that the product gave the thread.
 */
export async function stopThread(process: AltraceProcess, thread: string): Promise<void> {
  const url = await waitUntil("the debugger to listen", () =>
    /ws:\/\/[^\s]+/.exec(process.stderr())?.at(0),
  );
  const socket = new WebSocket(url);
  await once(socket, "open");
  try {
    const debugging = new Debugging(socket);
    const sessionId = await debugging.sessionOf(thread);
    const expression = "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)";
    const message = JSON.stringify({ id: 1, method: "Runtime.evaluate", params: { expression } });
    // Its answer says that the thread was handed the message; what it says itself never comes.
    await debugging.ask("NodeWorker.sendMessageToWorker", { sessionId, message });
  } finally {
    // Node would not end while somebody is attached.
    socket.close();
  }
}

const ANSWER_MS = 60_000;

type Said = {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly sessionId: string; readonly workerInfo: { readonly title: string } };
};

/** One connection to the debugger of a process's main thread. */
class Debugging {
  readonly #socket: WebSocket;
  #lastId = 0;

  constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  async ask(method: string, params: object): Promise<void> {
    const id = ++this.#lastId;
    this.#socket.send(JSON.stringify({ id, method, params }));
    await this.#hear(`an answer to ${method}`, (said) => said.id === id);
  }

  /** The debugging session of the thread of that name. */
  async sessionOf(thread: string): Promise<string> {
    const attached = this.#hear(
      `a thread called ${thread}`,
      ({ method, params }) =>
        method === "NodeWorker.attachedToWorker" &&
        params?.workerInfo.title.includes(thread) === true,
    );
    await this.ask("NodeWorker.enable", { waitForDebuggerOnStart: false });
    return (await attached).params?.sessionId ?? "";
  }

  #hear(what: string, isIt: (said: Said) => boolean): Promise<Said> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        reject,
        ANSWER_MS,
        new Error(`the debugger did not tell of ${what}`),
      );
      const listen = ({ data }: { readonly data: unknown }) => {
        const said = JSON.parse(String(data)) as Said;
        if (!isIt(said)) return;
        clearTimeout(timer);
        this.#socket.removeEventListener("message", listen);
        resolve(said);
      };
      this.#socket.addEventListener("message", listen);
    });
  }
}
