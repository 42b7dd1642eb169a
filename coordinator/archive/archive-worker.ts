import { parentPort } from "node:worker_threads";
import { fileKeys } from "../../adapters/file-keys.ts";
import { machineDisk } from "../../adapters/machine-disk.ts";
import { createNameResolver } from "../../adapters/name-resolution.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { parseVkey } from "../../audit/signed-note.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { beginning } from "../../ports/thread-beginning.ts";
import { keysPath } from "../found-mesh.ts";
import {
  OPERATIONS_KEY,
  OperationsLog,
  type OperationsName,
  type OwnEntry,
  operationsFolder,
} from "../operations/operations-log.ts";
import { BroughtLogs } from "../outside/brought-logs.ts";
import { readOutsideFile } from "../outside/outside-file.ts";
import type { OutsideEvidence, OutsideNews, OutsideStatus } from "../outside/outside-witnesses.ts";
import { Archive, type ArchiveAnswer, type ArchiveAsk } from "./archive.ts";
import { Retirement, type RetirementOptions } from "./retirement.ts";

/** What the thread of a coordinator's logs is started with. */
export type ArchiveWorkerData = {
  /** This coordinator as a witness. */
  readonly witnessVkey: string;
  /** Copies of nodes' logs; absent: none are kept. */
  readonly copies?: {
    readonly dir: string;
    readonly reserveBytes: number;
    /** Logs that ended longer ago go, ms. Left out, none does. */
    readonly keepMs?: number | undefined;
    /** Where they go before. */
    readonly coldDir?: string | undefined;
  };
  /** The coordinator's own log. */
  readonly operations: { readonly home: string; readonly name: OperationsName };
  /** Witnesses outside of the mesh; absent: there are none. */
  readonly outside?: {
    /** The operator's file, which was understood. */
    readonly text: string;
    readonly everyMs: number;
    /** Logs of nodes that are known at the start. */
    readonly logs: readonly { readonly origin: string; readonly vkey: string }[];
  };
};

/** Time between two turns of what removes old logs, ms. */
const TURN_EVERY_MS = { busy: 50, idle: 30_000 } as const;

export type ToArchive =
  | { readonly t: "take"; readonly id: number; readonly ask: ArchiveAsk }
  | { readonly t: "record"; readonly calls: readonly OwnEntry[] }
  /** The operator's file of witnesses has changed, and was understood. */
  | { readonly t: "outside"; readonly text: string }
  /** Bring everything to the disk and end. */
  | { readonly t: "stop" };

export type FromArchive =
  | { readonly t: "taken"; readonly id: number; readonly answer: ArchiveAnswer }
  /** The calls that were sent last are on the disk, or `fault` says why that is not known. */
  | { readonly t: "recorded"; readonly fault?: string }
  /** A log's records were removed by their age; or could not be, and why. */
  | { readonly t: "retired"; readonly origin: string; readonly fault?: string }
  | WitnessedLog
  | FromOutside;

/** The newest checkpoint of a log that a quorum of witnesses outside of the mesh has cosigned, verbatim. */
export type WitnessedLog = {
  readonly t: "witnessed";
  readonly origin: string;
  readonly size: number;
  readonly note: string;
};

/** What is to be said of witnesses outside of the mesh. */
export type FromOutside =
  | ({ readonly t: "news" } & OutsideNews)
  | { readonly t: "status"; readonly status: OutsideStatus }
  | { readonly t: "evidence"; readonly evidence: OutsideEvidence };

/**
 * The only thread of a coordinator that waits for the disk of logs: commands and digests must not.
 */
async function run(data: ArchiveWorkerData): Promise<void> {
  const { copies, operations, witnessVkey } = data;
  const control = parentPort;
  if (control === null) throw new Error("the archive is started as a worker");
  const post = (message: FromArchive): void => control.postMessage(message);
  const outside = await openOutside(data, post);
  const onPublished = outside?.published;
  const archive =
    copies &&
    new Archive({ ...copies, witnessVkey, disk: machineDisk, ...(onPublished && { onPublished }) });
  const onRetired = (origin: string): void => {
    outside?.retired(origin);
    post({ t: "retired", origin });
  };
  const stopRetiring =
    copies && archive ? retireOld(data, archive, { onRetired, post }) : () => undefined;
  let log: OperationsLog | undefined;
  const record = (calls: readonly OwnEntry[]): FromArchive => {
    try {
      log ??= openOperations(operations);
      const note = log.append(calls);
      outside?.own(log.key, note);
      return { t: "recorded" };
    } catch (error) {
      return { t: "recorded", fault: errorMessage(error) };
    }
  };
  control.on("message", (message: ToArchive) => {
    if (message.t === "stop") {
      stopRetiring();
      outside?.stop();
      archive?.close();
      control.close();
    } else if (message.t === "record") post(record(message.calls));
    else if (message.t === "outside") outside?.replace(message.text);
    else if (archive) post({ t: "taken", id: message.id, answer: archive.take(message.ask) });
  });
}

/** Removes old logs in small parts, between shipments. */
function retireOld(
  { copies, witnessVkey }: ArchiveWorkerData,
  archive: Archive,
  {
    onRetired,
    post,
  }: Pick<RetirementOptions, "onRetired"> & { post: (message: FromArchive) => void },
): () => void {
  const witness = parseVkey(witnessVkey);
  if (copies?.keepMs === undefined || !witness.ok) return () => undefined;
  const { dir, keepMs, coldDir } = copies;
  const retirement = new Retirement({
    disk: machineDisk,
    dir,
    witness: witness.value,
    keepMs,
    coldDir,
    close: (origin) => archive.shut(origin),
    onRetired,
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

/**
 * Brings logs to witnesses outside of the mesh. It has the logs' thread, which waits for no answer. Where there are none,
 * what calls them is not loaded: it is most of this thread's program.
 */
async function openOutside(
  { outside, copies, operations, witnessVkey }: ArchiveWorkerData,
  post: (message: FromArchive) => void,
) {
  const coordinator = parseVkey(witnessVkey);
  if (outside === undefined || !coordinator.ok) return undefined;
  const { openWitnessClient } = await import("../../adapters/witness-client.ts");
  const client = openWitnessClient(createNameResolver({ clock: systemClock }));
  const policyOf = (text: string) => readOutsideFile(Buffer.from(text, "utf8"));
  const logs = new BroughtLogs({
    outside: policyOf(outside.text),
    everyMs: outside.everyMs,
    call: client.call,
    clock: systemClock,
    disk: machineDisk,
    copies: copies?.dir,
    own: { home: operations.home, dir: operationsFolder(operations.home) },
    coordinator: coordinator.value,
    post,
  });
  for (const log of outside.logs) logs.known(log);
  logs.start();
  return {
    published: logs.published,
    own: logs.own,
    retired: (origin: string) => logs.retired(origin),
    replace: (text: string) => logs.replace(policyOf(text)),
    stop: () => {
      logs.stop();
      void client.close();
    },
  };
}

function openOperations({ home, name }: ArchiveWorkerData["operations"]): OperationsLog {
  const signer = fileKeys(keysPath(home)).loadOrCreate(OPERATIONS_KEY);
  return new OperationsLog({ disk: machineDisk, home, name, signer });
}

await run(await beginning<ArchiveWorkerData>());
