import { threadId } from "node:worker_threads";
import { handingOver } from "../../../adapters/piscina-compute.ts";

/** What the workers of the test do. */
export type Task =
  | { readonly do: "add"; readonly numbers: readonly number[] }
  | { readonly do: "which_thread" }
  | { readonly do: "environment" }
  | { readonly do: "reverse"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly do: "throw" }
  /** Sets the flag and never comes back. */
  | { readonly do: "hang"; readonly flag: Int32Array<SharedArrayBuffer> }
  /** Works until the flag is set. */
  | { readonly do: "wait"; readonly flag: Int32Array<SharedArrayBuffer> };

export function runTask(task: Task): unknown {
  switch (task.do) {
    case "add":
      return task.numbers.reduce((sum, number) => sum + number, 0);
    case "which_thread":
      return threadId;
    case "environment":
      return Object.keys(process.env);
    case "reverse": {
      const bytes = task.bytes.reverse();
      return handingOver({ bytes }, [bytes.buffer]);
    }
    case "throw":
      throw new TypeError("out of order");
    case "hang":
      Atomics.store(task.flag, 0, 1);
      for (;;);
    case "wait":
      Atomics.wait(task.flag, 0, 0);
      return "done";
  }
}
