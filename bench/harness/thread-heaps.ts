import { request, WebSocket } from "undici";
import { errorMessage } from "../../ports/error-message.ts";
import { waitUntil } from "../../test/support/wait-until.ts";

const LISTENS_MS = 10_000;
const ANSWER_MS = 20_000;
const BYTES_PER_MIB = 1024 * 1024;
/** What each thread is asked for; it reads its own heap. */
const QUESTION = `(() => {
  const heap = process.getBuiltinModule("node:v8").getHeapStatistics();
  return { used: heap.used_heap_size, resident: heap.total_physical_size };
})()`;

/** The heap of one thread, MiB. */
export type ThreadHeap = {
  /** As the thread was named; `main` for the first. */
  readonly thread: string;
  /** Objects, those included that wait to be collected. */
  readonly usedMib: number;
  /** Pages that it keeps. */
  readonly residentMib: number;
};

/**
 * Asks all threads of a process of Node for their heaps, workers of workers too. It opens its inspector for that,
 * which takes memory of its own: whatever else is read of the process is to be read before.
 *
 * @param of.inspectPort What it was started with as `--inspect-port`.
 */
export async function threadHeaps(of: {
  readonly pid: number;
  readonly inspectPort: number;
}): Promise<readonly ThreadHeap[]> {
  process.kill(of.pid, "SIGUSR1");
  const socket = new WebSocket(await debuggerUrl(of.inspectPort));
  try {
    return await withTimeout(askAll(socket));
  } finally {
    socket.close();
  }
}

async function debuggerUrl(port: number): Promise<string> {
  let why = "no thread is listed";
  const look = async (): Promise<string | undefined> => {
    try {
      const { body } = await request(`http://127.0.0.1:${port}/json/list`);
      const [main] = (await body.json()) as readonly { readonly webSocketDebuggerUrl: string }[];
      return main?.webSocketDebuggerUrl;
    } catch (cause) {
      // Nobody listens there before the signal has been seen to.
      why = errorMessage(cause);
      return undefined;
    }
  };
  return await waitUntil(() => `the inspector: ${why}`, look, LISTENS_MS);
}

type Message = {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: { readonly result?: { readonly value?: unknown } };
};

/** The way to one thread; that of a worker leads through the thread that has started it. */
class Session {
  readonly #send: (text: string) => void;
  readonly #waiting = new Map<number, (answer: Message) => void>();
  readonly #workers = new Map<string, { readonly title: string; readonly session: Session }>();
  #asked = 0;

  constructor(send: (text: string) => void) {
    this.#send = send;
  }

  ask(method: string, params: object): Promise<Message> {
    this.#asked += 1;
    const id = this.#asked;
    const answer = new Promise<Message>((resolve) => this.#waiting.set(id, resolve));
    this.#send(JSON.stringify({ id, method, params }));
    return answer;
  }

  take(text: string): void {
    const message = JSON.parse(text) as Message;
    const { id, method, params = {} } = message;
    if (id !== undefined) this.#waiting.get(id)?.(message);
    const sessionId = String(params.sessionId);
    if (method === "NodeWorker.attachedToWorker") {
      const { title } = params.workerInfo as { readonly title: string };
      const session = new Session(
        (said) => void this.ask("NodeWorker.sendMessageToWorker", { sessionId, message: said }),
      );
      this.#workers.set(sessionId, { title, session });
    }
    if (method === "NodeWorker.receivedMessageFromWorker") {
      this.#workers.get(sessionId)?.session.take(String(params.message));
    }
  }

  /** Its own heap, and those of its workers and theirs. */
  async heaps(thread: string): Promise<readonly ThreadHeap[]> {
    const params = { expression: QUESTION, returnByValue: true };
    const { result } = await this.ask("Runtime.evaluate", params);
    const heap = result?.result?.value as Record<"used" | "resident", number>;
    // Those that run are told before it is answered.
    await this.ask("NodeWorker.enable", { waitForDebuggerOnStart: false });
    const below = [...this.#workers.values()].map(({ title, session }) =>
      session.heaps(`${thread === "main" ? "" : `${thread} > `}${nameOf(title)}`),
    );
    const own = {
      thread,
      usedMib: heap.used / BYTES_PER_MIB,
      residentMib: heap.resident / BYTES_PER_MIB,
    };
    return [own, ...(await Promise.all(below)).flat()];
  }
}

async function askAll(socket: WebSocket): Promise<readonly ThreadHeap[]> {
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener("open", () => resolve());
    socket.addEventListener("error", () => reject(new Error("the inspector does not answer")));
  });
  const main = new Session((text) => socket.send(text));
  socket.addEventListener("message", ({ data }) => main.take(String(data)));
  return await main.heaps("main");
}

/** `mesh` of `[worker 2] mesh`. */
function nameOf(title: string): string {
  return title.replace(/^\[worker \d+\] ?/, "") || "worker";
}

function withTimeout<T>(work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("a thread does not tell its heap")), ANSWER_MS);
  return Promise.race([work, promise]).finally(() => clearTimeout(timer));
}
