import { parentPort, workerData } from "node:worker_threads";
import { fileKeys } from "../../adapters/file-keys.ts";
import { machineDisk } from "../../adapters/machine-disk.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { keysPath } from "../found-mesh.ts";
import {
  type CallEntry,
  OPERATIONS_KEY,
  OperationsLog,
  type OperationsName,
} from "../operations/operations-log.ts";
import { Archive, type ArchiveAnswer, type ArchiveAsk } from "./archive.ts";

/** What the thread of a coordinator's logs is started with. */
export type ArchiveWorkerData = {
  /** Copies of nodes' logs; absent: none are kept. */
  readonly copies?: {
    readonly dir: string;
    readonly reserveBytes: number;
    readonly witnessVkey: string;
  };
  /** The coordinator's own log. */
  readonly operations: { readonly home: string; readonly name: OperationsName };
};

export type ToArchive =
  | { readonly t: "take"; readonly id: number; readonly ask: ArchiveAsk }
  | { readonly t: "record"; readonly calls: readonly CallEntry[] }
  /** Bring everything to the disk and end. */
  | { readonly t: "stop" };

export type FromArchive =
  | { readonly t: "taken"; readonly id: number; readonly answer: ArchiveAnswer }
  /** The calls that were sent last are on the disk, or `fault` says why that is not known. */
  | { readonly t: "recorded"; readonly fault?: string };

/**
 * The only thread of a coordinator that waits for the disk of logs: commands and digests must not.
 */
function run({ copies, operations }: ArchiveWorkerData): void {
  const control = parentPort;
  if (control === null) throw new Error("the archive is started as a worker");
  const post = (message: FromArchive): void => control.postMessage(message);
  const archive = copies && new Archive({ ...copies, disk: machineDisk });
  let log: OperationsLog | undefined;
  const record = (calls: readonly CallEntry[]): FromArchive => {
    try {
      log ??= openOperations(operations);
      log.append(calls);
      return { t: "recorded" };
    } catch (error) {
      return { t: "recorded", fault: errorMessage(error) };
    }
  };
  control.on("message", (message: ToArchive) => {
    if (message.t === "stop") {
      archive?.close();
      control.close();
    } else if (message.t === "record") post(record(message.calls));
    else if (archive) post({ t: "taken", id: message.id, answer: archive.take(message.ask) });
  });
}

function openOperations({ home, name }: ArchiveWorkerData["operations"]): OperationsLog {
  const signer = fileKeys(keysPath(home)).loadOrCreate(OPERATIONS_KEY);
  return new OperationsLog({ disk: machineDisk, home, name, signer });
}

run(workerData as ArchiveWorkerData);
