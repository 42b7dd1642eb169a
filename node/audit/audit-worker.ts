import { join } from "node:path";
import { parentPort } from "node:worker_threads";
import { fileKeys } from "../../adapters/file-keys.ts";
import { holdThread } from "../../adapters/hold-thread.ts";
import { machineDisk } from "../../adapters/machine-disk.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import type { AuditFault } from "../../audit/audit-fault.ts";
import { encodeVkey } from "../../audit/signed-note.ts";
import { beginning } from "../../ports/thread-beginning.ts";
import { openTable } from "../table/table.ts";
import { DiskRoom } from "./disk-room.ts";
import type { EpochLimits } from "./epoch-end.ts";
import type { LogEpoch } from "./log-epoch.ts";
import { logKey } from "./log-origin.ts";
import { LogThread } from "./log-thread.ts";
import { SyncLoop } from "./sync-loop.ts";
import { openWalSignal } from "./wal-signal.ts";
import { WalSync, type WalWriterName } from "./wal-sync.ts";

/** What the audit thread is started with. */
export type AuditWorkerData = {
  /** The folder of the WAL files. */
  readonly dir: string;
  /** Id of this start, from `recoverWal`. */
  readonly run: string;
  /** Everybody who opens a WAL in this run, each by its place in table and signal. */
  readonly writers: readonly WalWriterName[];
  readonly tableBuffer: SharedArrayBuffer;
  readonly signalBuffer: SharedArrayBuffer;
  /** Free bytes of the disk that are kept for allows, kills and floods. */
  readonly reserveBytes: number;
  /** The log that the records go into. Left out, they stay in the WAL. */
  readonly log?: {
    /** The node's home, which exists: the log is in `log` below it, its key in `keys`. */
    readonly home: string;
    readonly mesh: string;
    readonly node: string;
    readonly epoch: LogEpoch;
    /** Left out, the log is never ended. */
    readonly limits?: EpochLimits;
  };
};

export type ControlToAudit =
  /** A witness has cosigned the checkpoint with this text. */
  | { readonly t: "cosigned"; readonly text: string; readonly line: string }
  /** Witnesses outside of the mesh have cosigned this checkpoint of one of the node's logs. */
  | { readonly t: "witnessed"; readonly epoch: number; readonly note: string }
  /** Sync once more and end: send it after all writers are closed. */
  | { readonly t: "stop" };

/** The key of one of a node's logs. */
export type EpochKey = { readonly epoch: number; readonly vkey: string };

export type AuditToControl =
  /**
   * `vkey` is what the log's checkpoints are verified by, as C2SP tools take it; `earlier` the same of
   * logs that do not grow any more.
   */
  | { readonly t: "ready"; readonly vkey?: string; readonly earlier?: readonly EpochKey[] }
  /** A checkpoint was signed and is on the disk. */
  | { readonly t: "signed"; readonly checkpoint: string }
  /** The log was ended, and this one follows: it is the one that grows now. */
  | ({ readonly t: "opened" } & EpochKey)
  /** Something could not be synced. Allows stop by themselves; whoever runs the node must know. */
  | { readonly t: "fault"; readonly message: string }
  /** All that was appended is on the disk. */
  | { readonly t: "stopped" };

/**
 * The only thread of a node that waits for the disk of the log. What it throws ends the process.
 */
async function run(data: AuditWorkerData): Promise<void> {
  const control = parentPort;
  if (!control) throw new Error("the audit thread is started as a worker");
  const post = (message: AuditToControl): void => control.postMessage(message);
  const signal = openWalSignal(data.signalBuffer);
  const sync = new WalSync({
    dir: data.dir,
    run: data.run,
    writers: data.writers,
    table: openTable(data.tableBuffer),
    signal,
    clock: systemClock,
    disk: machineDisk,
    onFault: (fault) => post({ t: "fault", message: messageOf(fault) }),
  });
  const log = data.log && openLog(data, data.log, sync, post);
  const room = new DiskRoom({
    disk: machineDisk,
    dir: data.dir,
    reserveBytes: data.reserveBytes,
    signal,
    clock: systemClock,
    onFault: (fault) => post({ t: "fault", message: messageOf(fault) }),
  });
  room.lookIfDue();
  const loop = new SyncLoop({
    sync,
    signal,
    clock: systemClock,
    hold: holdThread,
    room,
    ...(log && { frames: log }),
  });
  control.on("message", (message: ControlToAudit) => {
    if (message.t === "stop") loop.stop();
    else if (message.t === "witnessed") log?.witnessed(message.epoch, message.note);
    else log?.cosigned(message.text, message.line);
  });
  post({ t: "ready", ...(log && { vkey: log.vkey, earlier: earlierKeys(data.log) }) });
  await loop.run();
  post({ t: "stopped" });
  control.close();
}

function openLog(
  { dir, run }: AuditWorkerData,
  { home, mesh, node, epoch, limits }: NonNullable<AuditWorkerData["log"]>,
  sync: WalSync,
  post: (message: AuditToControl) => void,
): LogThread {
  return new LogThread({
    name: { mesh, node, epoch: epoch.epoch },
    opening: epoch.opening,
    ...(limits !== undefined && { limits }),
    onOpened: (opened) => post({ t: "opened", ...opened }),
    onSigned: (checkpoint) => post({ t: "signed", checkpoint }),
    home,
    walDir: dir,
    run,
    sync,
    keys: fileKeys(join(home, "keys")),
    clock: systemClock,
    disk: machineDisk,
    onFault: (fault) => post({ t: "fault", message: messageOf(fault) }),
  });
}

function earlierKeys(log: AuditWorkerData["log"]): readonly EpochKey[] {
  if (log === undefined) return [];
  const { home, mesh, node } = log;
  const keys = fileKeys(join(home, "keys"));
  const epochs = Array.from({ length: log.epoch.epoch - 1 }, (_, no) => no + 1);
  return epochs.flatMap((epoch) => {
    const key = logKey(keys, { mesh, node, epoch });
    return key === undefined ? [] : [{ epoch, vkey: encodeVkey(key) }];
  });
}

function messageOf(fault: AuditFault): string {
  const { cause } = fault;
  return cause instanceof Error ? `${fault.message}: ${cause.message}` : fault.message;
}

await run(await beginning<AuditWorkerData>());
