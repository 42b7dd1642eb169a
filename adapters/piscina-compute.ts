import { Piscina } from "piscina";
import type { Clock } from "../ports/clock.ts";
import { type Compute, ComputeFault } from "../ports/compute.ts";
import { errorMessage } from "../ports/error-message.ts";
import { compileCacheEnv } from "./compile-cache.ts";

export type PiscinaComputeOptions<Input> = {
  readonly clock: Clock;
  /** Path of the module that the workers run. */
  readonly workerFile: string;
  /** The function that it exports: input in, output out. */
  readonly exportName: string;
  readonly threads: number;
  /** Tasks that may wait for a thread. */
  readonly queueMax: number;
  /** Memory of one worker's heap, MB. One that needs more is ended, and its task fails. */
  readonly heapMbMax: number;
  /** What it may have of objects that are new, MB. */
  readonly youngMbMax: number;
  /** Buffers that the worker takes over; the caller must not touch them again. */
  readonly handOver?: (input: Input) => readonly ArrayBuffer[];
};

/**
 * Work in threads of their own, taken in the order in which it was given.
 *
 * A worker that is still at a task when its deadline has passed is hung, since a task sees to its own
 * time: the thread is ended and another one takes its place. A task that only waited is dropped.
 * Workers get no environment but where compiled sources are: what they compute on comes from outside.
 */
export function createPiscinaCompute<Input, Output>(
  options: PiscinaComputeOptions<Input>,
): Compute<Input, Output> {
  return new PiscinaCompute(options);
}

/**
 * Marks a worker's result so that its buffers are handed over, not copied.
 *
 * @param buffers Must belong to the result alone: they are gone here afterwards.
 */
export function handingOver<Output extends object>(
  result: Output,
  buffers: readonly ArrayBuffer[],
): Output {
  const movable = {
    [Piscina.transferableSymbol]: buffers,
    [Piscina.valueSymbol]: result,
  };
  return Piscina.move(movable as unknown as Parameters<typeof Piscina.move>[0]) as Output;
}

class PiscinaCompute<Input, Output> implements Compute<Input, Output> {
  readonly #options: PiscinaComputeOptions<Input>;
  readonly #pool: Piscina<Input, Output>;
  /**
   * Who waits for a thread. Piscina has a queue too, but does not bound it for tasks that can be
   * aborted, so it is given no more tasks than it has threads.
   */
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(options: PiscinaComputeOptions<Input>) {
    this.#options = options;
    this.#pool = new Piscina<Input, Output>({
      filename: options.workerFile,
      name: options.exportName,
      minThreads: options.threads,
      maxThreads: options.threads,
      concurrentTasksPerWorker: 1,
      env: compileCacheEnv(),
      execArgv: [],
      resourceLimits: {
        maxOldGenerationSizeMb: options.heapMbMax,
        maxYoungGenerationSizeMb: options.youngMbMax,
      },
      recordTiming: false,
    });
    // Without a listener a worker that dies between two tasks would end the process.
    this.#pool.on("error", () => {});
  }

  async run(input: Input, deadlineMs: number): Promise<Output> {
    const abort = new AbortController();
    const cancel = this.#options.clock.after(deadlineMs, () => abort.abort());
    try {
      await this.#turn(abort.signal);
      try {
        const transferList = [...(this.#options.handOver?.(input) ?? [])] as unknown;
        return await this.#pool.run(input, {
          signal: abort.signal,
          transferList: transferList as TransferList,
        });
      } finally {
        this.#next();
      }
    } catch (cause) {
      if (cause instanceof ComputeFault) throw cause;
      if (!abort.signal.aborted) throw new ComputeFault("failed", errorMessage(cause), { cause });
      throw new ComputeFault("deadline", `not done within ${deadlineMs} ms`, { cause });
    } finally {
      cancel();
    }
  }

  close(): Promise<void> {
    return this.#pool.destroy();
  }

  /** Waits for a thread; rejects when there is no room to wait, or no time. */
  async #turn(signal: AbortSignal): Promise<void> {
    const { threads, queueMax } = this.#options;
    if (this.#running < threads) {
      this.#running += 1;
      return;
    }
    if (this.#waiting.length >= queueMax) throw new ComputeFault("busy", "the queue is full");
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    signal.addEventListener("abort", () => {
      const place = this.#waiting.indexOf(resolve);
      // Its turn may have come already; then the thread is what is given up.
      if (place < 0) return;
      this.#waiting.splice(place, 1);
      reject(signal.reason);
    });
    await promise;
  }

  /** Gives the thread to the first who waits, or back. */
  #next(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}

/** Piscina derives its type from an overload that these typings of Node order otherwise. */
type TransferList = NonNullable<NonNullable<Parameters<Piscina["run"]>[1]>["transferList"]>;
