import type { Worker } from "node:worker_threads";
import type { Clock } from "../ports/clock.ts";

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

/** Waits for a thread that was told to end, and ends one that hangs. */
export async function endOfWorker(
  worker: Worker,
  exit: Promise<number>,
  clock: Clock,
  limitMs: number,
): Promise<void> {
  const cancel = clock.after(limitMs, () => void worker.terminate());
  await exit;
  cancel();
}
