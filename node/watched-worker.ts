import type { Worker } from "node:worker_threads";
import type { Cancel, Clock } from "../ports/clock.ts";

/** A thread that ends by itself takes the process with it: half a node must not go on deciding. */
export function watchWorker(
  worker: Worker,
  name: string,
  onLost: (what: string, error: unknown) => void,
): { readonly exit: Promise<number>; expected(): void } {
  let expected = false;
  const exit = new Promise<number>((resolve) => {
    worker.on("exit", (code) => {
      if (!expected) onLost(name, new Error(`the ${name} thread ended with code ${code}`));
      resolve(code);
    });
  });
  worker.on("error", (error) => onLost(name, error));
  return {
    exit,
    expected: () => {
      expected = true;
    },
  };
}

/** How long a thread that was ended may take to be gone. */
export const THREAD_GONE_MS = 1_000;

/**
 * Waits for a thread that was told to end, and ends one that hangs. One that hangs outside of the engine, in a call to the
 * kernel, cannot be ended: it runs nothing of ours any more, and ends with the process.
 *
 * @returns Whether it is gone.
 */
export async function endOfWorker(
  worker: Pick<Worker, "terminate">,
  exit: Promise<number>,
  clock: Clock,
  limitMs: number,
): Promise<boolean> {
  let cancel: Cancel = () => undefined;
  const stays = new Promise<false>((resolve) => {
    cancel = clock.after(limitMs, () => {
      void worker.terminate();
      cancel = clock.after(THREAD_GONE_MS, () => resolve(false));
    });
  });
  const isGone = await Promise.race([exit.then(() => true), stays]);
  cancel();
  return isGone;
}
