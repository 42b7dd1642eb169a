import { type PreparedThread, prepareThread } from "../../ports/prepared-thread.ts";
import type { WatchFile } from "../../ports/watch-file.ts";
import type { CoordinatorPorts } from "../app.ts";
import { archiveFolder, type CoordinatorConfig } from "../config.ts";
import { CallsUnderWay } from "../operations/calls-under-way.ts";
import type { OwnEntry } from "../operations/operations-log.ts";
import { type FollowedFile, followOutsideFile } from "../outside/followed-file.ts";
import type { ArchiveAnswer, ArchiveAsk } from "./archive.ts";
import type {
  ArchiveWorkerData,
  FromArchive,
  FromOutside,
  ToArchive,
  WitnessedLog,
} from "./archive-worker.ts";

/** Bytes that wait for the archive's thread; what comes beyond is refused, and nodes ask again. */
export const PENDING_BYTES_MAX = 32 * 1024 * 1024;
/** Shipments of one node that wait, of all its logs together; one of each log is under way at a time. */
export const PENDING_OF_NODE_MAX = 4;
/** Shipments of all nodes that wait. */
export const PENDING_MAX = 512;
const BUSY_RETRY_MS = 1_000;
const LOST_RETRY_MS = 60_000;

export type LinkAnswer =
  | ArchiveAnswer
  | {
      readonly refused: "archive_busy" | "archive_lost";
      readonly detail: string;
      readonly retryMs: number;
    };

/** The logs on a coordinator's disk, as its other parts are handed them. */
export type ArchiveLink = {
  /** False: nodes keep their logs to themselves, and `add` is not to be called. */
  readonly keepsCopies: boolean;
  /** The operator's file of witnesses outside of the mesh, as it is now; empty: there is none. */
  readonly outsidePolicy: string;
  /** The newest checkpoint of a log that is brought to them and that a quorum of them has cosigned; undefined: there is none. */
  witnessed(origin: string): Pick<WitnessedLog, "size" | "note"> | undefined;
  add(node: string, ask: ArchiveAsk): Promise<LinkAnswer>;
  /**
   * Writes a call, or a log that must exist, into the coordinator's own log. Resolves once it is on the disk and signed over; to the
   * words of a fault where that is not known.
   */
  record(call: OwnEntry): Promise<string | undefined>;
  /** Resolves once everything that was taken is on the disk. */
  close(): Promise<void>;
};

/** Loads the program of the logs' thread, before it is known whose logs they are. */
export function prepareArchive(): PreparedThread {
  return prepareThread({
    name: "archive",
    program: new URL("./archive-worker.ts", import.meta.url),
    youngMibMax: YOUNG_MIB_MAX,
  });
}

/**
 * How a coordinator with these settings opens its logs. That throws OutsideFileFault for a file of witnesses that is
 * not understood.
 */
export function archiveOf(
  { home, archive, outside, replicaId: replica }: CoordinatorConfig,
  watch: WatchFile,
  thread: PreparedThread = prepareArchive(),
): NonNullable<CoordinatorPorts["openArchive"]> {
  return ({ witnessVkey, mesh, logs }, told) => {
    const file = outside && followOutsideFile(outside.file, watch);
    const data: ArchiveWorkerData = {
      witnessVkey,
      operations: { home, name: { mesh, replica } },
      ...(archive && { copies: { ...archive, dir: archive.dir ?? archiveFolder(home) } }),
      ...(file && { outside: { text: file.text, everyMs: outside.everyMs, logs } }),
    };
    return startArchive(data, { told, file, thread });
  };
}

/** Whose logs they are. */
export type ArchiveOf = {
  readonly mesh: string;
  /** What this coordinator's cosignatures are checked by. */
  readonly witnessVkey: string;
  /** Logs of nodes that are known from earlier runs. */
  readonly logs: readonly { readonly origin: string; readonly vkey: string }[];
};

/** What a coordinator is told of its archive. */
export type ArchiveTold = {
  readonly onLost: (error: unknown) => void;
  /** A log's records were removed by their age; with `fault`, could not be. */
  readonly onRetired: (origin: string, fault: string | undefined) => void;
  /** What is to be said of witnesses outside of the mesh. */
  readonly onOutside: (said: FromOutside) => void;
};

/** What the thread may have of objects that are new: it would keep up to 96 MiB, and has little to do mostly. */
const YOUNG_MIB_MAX = 6;

/** Starts the thread of logs. When it is lost nodes are refused, and what must be recorded first. */
function startArchive(
  data: ArchiveWorkerData,
  of: {
    readonly told: ArchiveTold;
    readonly file: FollowedFile | undefined;
    readonly thread: PreparedThread;
  },
): ArchiveLink {
  const { file, thread } = of;
  const { onLost, onRetired, onOutside } = of.told;
  const { worker } = thread;
  const waiting = new Map<number, (answer: LinkAnswer) => void>();
  const ofNode = new Map<string, number>();
  /** One for each log that this coordinator has a whole copy of, and its own. */
  const witnessed = new Map<string, WitnessedLog>();
  let [lastId, pendingBytes, isEnded, isClosing] = [0, 0, false, false];
  const ended = new Promise<void>((resolve) => {
    worker.once("exit", () => {
      isEnded = true;
      for (const answer of waiting.values()) answer(LOST);
      waiting.clear();
      if (!isClosing) onLost(new Error("the archive's thread ended"));
      resolve();
    });
  });
  worker.on("error", onLost);
  thread.begin(data);
  const post = (message: ToArchive): void => worker.postMessage(message);
  file?.follow({ onText: (text) => post({ t: "outside", text }), tell: onOutside });
  const calls = new CallsUnderWay((entries) => post({ t: "record", calls: entries }));
  void ended.then(() => calls.end());
  worker.on("message", (message: FromArchive) => {
    if (message.t === "recorded") return calls.written(message.fault);
    if (message.t === "witnessed") return void witnessed.set(message.origin, message);
    if (message.t === "retired") {
      // It has ended, and nobody asks for it any more.
      if (message.fault === undefined) witnessed.delete(message.origin);
      return onRetired(message.origin, message.fault);
    }
    if (message.t !== "taken") return onOutside(message);
    waiting.get(message.id)?.(message.answer);
    waiting.delete(message.id);
  });
  return {
    keepsCopies: data.copies !== undefined,
    get outsidePolicy() {
      return file?.text ?? "";
    },
    witnessed: (origin) => witnessed.get(origin),
    record: (call) => calls.add(call),
    add: async (node, ask) => {
      const bytes = ask.packed.length + ask.checkpoint.length;
      const pending = ofNode.get(node) ?? 0;
      if (isEnded) return LOST;
      const isFull = pendingBytes + bytes > PENDING_BYTES_MAX || waiting.size >= PENDING_MAX;
      if (isFull || pending >= PENDING_OF_NODE_MAX) return BUSY;
      pendingBytes += bytes;
      ofNode.set(node, pending + 1);
      const id = ++lastId;
      const answer = await new Promise<LinkAnswer>((resolve) => {
        waiting.set(id, resolve);
        post({ t: "take", id, ask });
      });
      pendingBytes -= bytes;
      const left = (ofNode.get(node) ?? 1) - 1;
      if (left === 0) ofNode.delete(node);
      else ofNode.set(node, left);
      return answer;
    },
    close: async () => {
      isClosing = true;
      file?.close();
      await calls.drained();
      if (!isEnded) post({ t: "stop" });
      await ended;
    },
  };
}

const BUSY: LinkAnswer = { refused: "archive_busy", detail: "", retryMs: BUSY_RETRY_MS };
const LOST: LinkAnswer = { refused: "archive_lost", detail: "", retryMs: LOST_RETRY_MS };
