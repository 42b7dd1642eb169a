import type { ControlToLoop, LoopToControl } from "./thread-messages.ts";
import type { ThreadPort } from "./thread-port.ts";

/** The control thread's end of one data loop. */
export type LoopLink = {
  readonly no: number;
  post(message: ControlToLoop): void;
  onMessage(fn: (message: LoopToControl) => void): void;
};

/** Wraps the loop's worker; several listeners may be added. */
export function loopLink(no: number, worker: ThreadPort): LoopLink {
  return {
    no,
    post: (message) => worker.postMessage(message),
    onMessage: (fn) => void worker.on("message", fn),
  };
}
