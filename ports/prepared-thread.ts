import { once } from "node:events";
import { MessageChannel, type Transferable, Worker } from "node:worker_threads";
import type { EarlyThread } from "./thread-beginning.ts";

/** A thread whose program is being loaded, and that waits then for what it is to work on. */
export type PreparedThread = AsyncDisposable & {
  readonly worker: Worker;
  /** Resolves once nothing but its data is missing. */
  readonly loaded: Promise<unknown>;
  /** Once: hands over what it was waiting for. */
  begin(data: object, transfer?: readonly Transferable[]): void;
};

export type PreparedProgram = {
  readonly name: string;
  readonly program: URL;
  /** What it may have of objects that are new, MiB. */
  readonly youngMibMax: number;
  /** See `EarlyThread`. */
  readonly rehearsal?: unknown;
};

export function prepareThread(of: PreparedProgram): PreparedThread {
  const { port1, port2 } = new MessageChannel();
  const { name, program, youngMibMax, rehearsal } = of;
  const worker = new Worker(program, {
    name,
    resourceLimits: { maxYoungGenerationSizeMb: youngMibMax },
    workerData: { beginsBy: port2, rehearsal } satisfies EarlyThread,
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
    [Symbol.asyncDispose]: async () => {
      await worker.terminate();
    },
  };
}
