import { once } from "node:events";
import { MessageChannel, type Transferable, Worker } from "node:worker_threads";
import type { EarlyThread } from "./thread-beginning.ts";

/** A thread whose program is being loaded, and that waits then for what it is to work on. */
export type PreparedThread = {
  readonly worker: Worker;
  /** Resolves once nothing but its data is missing. */
  readonly loaded: Promise<unknown>;
  /** Once: hands over what it was waiting for. */
  begin(data: object, transfer?: readonly Transferable[]): void;
};

/** All threads of a node. */
export type PreparedThreads = {
  readonly audit: PreparedThread;
  readonly mesh: PreparedThread;
  readonly loops: readonly PreparedThread[];
  /** Resolves once all of them are loaded. */
  readonly loaded: Promise<unknown>;
  /** Ends them, begun or not. */
  [Symbol.asyncDispose](): Promise<void>;
};

/**
 * Starts the threads of a node before there is anything for them to do. Loading a program takes a thread some
 * tenths of a second, and nothing of HOME, of the mesh or of a port: a node that takes another one's place
 * has that behind it when the other one ends.
 */
export function prepareThreads(loops: number): PreparedThreads {
  const audit = prepare("audit", "./audit/audit-worker.ts");
  const mesh = prepare("mesh", "./mesh/mesh-worker.ts");
  const numbers = Array.from({ length: loops }, (_, no) => no);
  const loopThreads = numbers.map((no) => prepare(`loop${no}`, "./loop-worker.ts"));
  const all = [audit, mesh, ...loopThreads];
  return {
    audit,
    mesh,
    loops: loopThreads,
    loaded: Promise.all(all.map(({ loaded }) => loaded)),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(all.map(({ worker }) => worker.terminate()));
    },
  };
}

function prepare(name: string, program: string): PreparedThread {
  const { port1, port2 } = new MessageChannel();
  const worker = new Worker(new URL(program, import.meta.url), {
    name,
    workerData: { beginsBy: port2 } satisfies EarlyThread,
    transferList: [port2],
  });
  return {
    worker,
    loaded: once(port1, "message"),
    begin: (data, transfer = []) => {
      port1.postMessage(data, [...transfer]);
      // The thread itself keeps the process alive from here on.
      port1.unref();
    },
  };
}
