import { parentPort, workerData } from "node:worker_threads";
import { machineDisk } from "../../adapters/machine-disk.ts";
import { Archive, type ArchiveAnswer, type ArchiveAsk } from "./archive.ts";

/** What the archive's thread is started with. */
export type ArchiveWorkerData = {
  readonly dir: string;
  readonly reserveBytes: number;
  readonly witnessVkey: string;
};

export type ToArchive =
  | { readonly t: "take"; readonly id: number; readonly ask: ArchiveAsk }
  /** Bring everything to the disk and end. */
  | { readonly t: "stop" };

export type FromArchive = { readonly id: number; readonly answer: ArchiveAnswer };

/**
 * The only thread of a coordinator that waits for the archive's disk: commands and digests must not.
 */
function run(data: ArchiveWorkerData): void {
  const control = parentPort;
  if (control === null) throw new Error("the archive is started as a worker");
  const archive = new Archive({ ...data, disk: machineDisk });
  control.on("message", (message: ToArchive) => {
    if (message.t === "take") {
      const { id, ask } = message;
      control.postMessage({ id, answer: archive.take(ask) } satisfies FromArchive);
      return;
    }
    archive.close();
    control.close();
  });
}

run(workerData as ArchiveWorkerData);
