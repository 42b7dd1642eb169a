import { parentPort, workerData } from "node:worker_threads";
import { fileKeys } from "../../adapters/file-keys.ts";
import { machineDisk } from "../../adapters/machine-disk.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { parseVkey } from "../../audit/signed-note.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { keysPath } from "../found-mesh.ts";
import {
  OPERATIONS_KEY,
  OperationsLog,
  type OperationsName,
  type OwnEntry,
} from "../operations/operations-log.ts";
import { Archive, type ArchiveAnswer, type ArchiveAsk } from "./archive.ts";
import { Retirement } from "./retirement.ts";

/** What the thread of a coordinator's logs is started with. */
export type ArchiveWorkerData = {
  /** Copies of nodes' logs; absent: none are kept. */
  readonly copies?: {
    readonly dir: string;
    readonly reserveBytes: number;
    readonly witnessVkey: string;
    /** Logs that ended longer ago go, ms. Left out, none does. */
    readonly keepMs?: number | undefined;
    /** Where they go before. */
    readonly coldDir?: string | undefined;
  };
  /** The coordinator's own log. */
  readonly operations: { readonly home: string; readonly name: OperationsName };
};

/** Time between two turns of what removes old logs, ms. */
const TURN_EVERY_MS = { busy: 50, idle: 30_000 } as const;

export type ToArchive =
  | { readonly t: "take"; readonly id: number; readonly ask: ArchiveAsk }
  | { readonly t: "record"; readonly calls: readonly OwnEntry[] }
  /** Bring everything to the disk and end. */
  | { readonly t: "stop" };

export type FromArchive =
  | { readonly t: "taken"; readonly id: number; readonly answer: ArchiveAnswer }
  /** The calls that were sent last are on the disk, or `fault` says why that is not known. */
  | { readonly t: "recorded"; readonly fault?: string }
  /** A log's records were removed by their age; or could not be, and why. */
  | { readonly t: "retired"; readonly origin: string; readonly fault?: string };

/**
 * The only thread of a coordinator that waits for the disk of logs: commands and digests must not.
 */
function run({ copies, operations }: ArchiveWorkerData): void {
  const control = parentPort;
  if (control === null) throw new Error("the archive is started as a worker");
  const post = (message: FromArchive): void => control.postMessage(message);
  const archive = copies && new Archive({ ...copies, disk: machineDisk });
  const stopRetiring = copies && archive ? retireOld(copies, archive, post) : () => undefined;
  let log: OperationsLog | undefined;
  const record = (calls: readonly OwnEntry[]): FromArchive => {
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
      stopRetiring();
      archive?.close();
      control.close();
    } else if (message.t === "record") post(record(message.calls));
    else if (archive) post({ t: "taken", id: message.id, answer: archive.take(message.ask) });
  });
}

/** Removes old logs in small parts, between shipments. */
function retireOld(
  { dir, witnessVkey, keepMs, coldDir }: NonNullable<ArchiveWorkerData["copies"]>,
  archive: Archive,
  post: (message: FromArchive) => void,
): () => void {
  const witness = parseVkey(witnessVkey);
  if (keepMs === undefined || !witness.ok) return () => undefined;
  const retirement = new Retirement({
    disk: machineDisk,
    dir,
    witness: witness.value,
    keepMs,
    coldDir,
    close: (origin) => archive.shut(origin),
    onRetired: (origin) => post({ t: "retired", origin }),
    onFault: (origin, fault) => post({ t: "retired", origin, fault }),
  });
  let cancel: () => void = () => undefined;
  const turn = (): void => {
    const isMore = retirement.turn(systemClock.nowMs());
    cancel = systemClock.after(isMore ? TURN_EVERY_MS.busy : TURN_EVERY_MS.idle, turn);
  };
  turn();
  return () => cancel();
}

function openOperations({ home, name }: ArchiveWorkerData["operations"]): OperationsLog {
  const signer = fileKeys(keysPath(home)).loadOrCreate(OPERATIONS_KEY);
  return new OperationsLog({ disk: machineDisk, home, name, signer });
}

run(workerData as ArchiveWorkerData);
