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
 * What a thread may have of objects that are new, MiB. The engine would let it grow to 96 MiB in each, also where a thread once had
 * much to read and has little to do since, and it gives nothing back. A third of it is what is collected at once. A loop has the
 * most: what lives as long as a request is not to be taken for what stays.
 */
const YOUNG_MIB_MAX = { audit: 3, mesh: 6, loop: 24 } as const;

/**
 * Starts the threads of a node before there is anything for them to do. Loading a program takes a thread some
 * tenths of a second, and nothing of HOME, of the mesh or of a port: a node that takes another one's place
 * has that behind it when the other one ends.
 */
export function prepareThreads(loops: number): PreparedThreads {
  const audit = prepare("audit", "./audit/audit-worker.ts", YOUNG_MIB_MAX.audit);
  const mesh = prepare("mesh", "./mesh/mesh-worker.ts", YOUNG_MIB_MAX.mesh);
  const numbers = Array.from({ length: loops }, (_, no) => no);
  const loopThreads = numbers.map((no) =>
    prepare(`loop${no}`, "./loop-worker.ts", YOUNG_MIB_MAX.loop),
  );
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

function prepare(name: string, program: string, youngMibMax: number): PreparedThread {
  const { port1, port2 } = new MessageChannel();
  const worker = new Worker(new URL(program, import.meta.url), {
    name,
    resourceLimits: { maxYoungGenerationSizeMb: youngMibMax },
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
