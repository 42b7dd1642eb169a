import { once } from "node:events";
import { flushCompileCache } from "node:module";
import { type MessagePort, workerData } from "node:worker_threads";

/** What the thread of a program that was loaded early is started with: the other end hands over the rest. */
export type EarlyThread = {
  readonly beginsBy: MessagePort;
  /** For one that takes another one's place: what it does first is tried on this. */
  readonly rehearsal: unknown;
};

/** To whoever prepared the thread: its program is loaded. */
const LOADED = "loaded";

/**
 * For the program of a thread: what it is started with. One that was prepared early says that it is loaded and
 * waits here; call it once everything that takes long and needs nothing of it is done.
 *
 * @param rehearse Has the engine compile, and load, what the thread runs through first. Only where somebody else
 *   serves meanwhile: it takes longer than it saves.
 */
export async function beginning<Data, Rehearsal = never>(
  rehearse: (on: Rehearsal) => Promise<void> = async () => undefined,
): Promise<Data> {
  // A process may be ended at any time without a word, and the next one would begin as this one did.
  flushCompileCache();
  if (!isEarly(workerData)) return workerData as Data;
  const { beginsBy, rehearsal } = workerData;
  if (rehearsal !== undefined) await rehearse(rehearsal as Rehearsal);
  const told = once(beginsBy, "message");
  beginsBy.postMessage(LOADED);
  const [data] = (await told) as [Data];
  beginsBy.close();
  return data;
}

function isEarly(data: unknown): data is EarlyThread {
  return typeof data === "object" && data !== null && "beginsBy" in data;
}
