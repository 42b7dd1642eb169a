/**
 * Copies of all nodes' logs on this coordinator's disk, one folder each, as C2SP tools read them.
 *
 * R1. A shipment touches the folder of its own log and nothing else.
 * R2. What a copy cannot take is refused with a reason, and the node keeps it; the disk keeps a reserve
 *     for what stops agents.
 * R3. A write that fails costs what was not yet acknowledged as kept, and nothing more.
 */

import { dirname, join } from "node:path";
import { AuditFault } from "../../audit/audit-fault.ts";
import { type OpenedCheckpoint, openCheckpoint } from "../../audit/checkpoint.ts";
import { LEAF_BYTES_MAX } from "../../audit/leaf.ts";
import { LogFiles } from "../../audit/log-files.ts";
import { isProof } from "../../audit/merkle.ts";
import { unpackEntries } from "../../audit/packed-entries.ts";
import { parseVkey, type VerifierKey } from "../../audit/signed-note.ts";
import { SpareRooms } from "../../audit/spare-rooms.ts";
import type { Disk } from "../../ports/disk.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { ArchivedLog } from "./archived-log.ts";

/** Copies that are kept open; others are taken up again from their files. */
export const OPEN_LOGS_MAX = 128;
/** Bytes of one copy that wait for the disk; beyond it they are brought there at once. */
export const WAITING_BYTES_MAX = 1024 * 1024;
const FULL_RETRY_MS = 10_000;
const DAMAGED_RETRY_MS = 60_000;
const UNWRITTEN_RETRY_MS = 5_000;

/** What a node ships, after its sender is known. */
export type ArchiveAsk = {
  /** Name and folder of the log: `<mesh>/<node>/e<epoch>`, checked by whoever calls. */
  readonly origin: string;
  /** The key that the log is known by. */
  readonly vkey: string;
  readonly checkpoint: string;
  readonly first: number;
  /** Entries as `packEntries` makes them of any; empty for none. */
  readonly packed: Uint8Array;
  readonly proof: readonly Uint8Array[];
};

export type ArchiveRefusal =
  | "elsewhere"
  | "inconsistent"
  | "malformed"
  | "checkpoint_refused"
  | "archive_full"
  | "archive_damaged"
  | "archive_unwritten";

export type ArchiveAnswer = {
  /** Empty: taken. */
  readonly refused: "" | ArchiveRefusal;
  readonly detail: string;
  readonly next: number;
  readonly kept: number;
  readonly retryMs: number;
};

export type ArchiveOptions = {
  readonly disk: Disk;
  /** Folder of all copies. It is made when it is not there. */
  readonly dir: string;
  /** Free bytes of that disk below which nothing is taken. */
  readonly reserveBytes: number;
  /** This coordinator's own witness: a wrong cosignature in its name is refused. */
  readonly witnessVkey: string;
  /** Default: `WAITING_BYTES_MAX`. */
  readonly waitingBytesMax?: number;
  /** A copy has a newer checkpoint, and all that it covers, on the disk. */
  readonly onPublished?: (
    of: Pick<ArchiveAsk, "origin" | "vkey"> & { readonly note: string },
  ) => void;
};

export class Archive {
  readonly #options: ArchiveOptions;
  readonly #witnesses: readonly VerifierKey[];
  /** Least recently used first. */
  readonly #open = new Map<string, ArchivedLog>();
  readonly #rooms = new SpareRooms();
  /**
   * By copy, the checkpoint that its last shipment came with and what it was opened as. A log comes in dozens of
   * shipments under one checkpoint, and their signatures would be checked each time.
   */
  readonly #checked = new WeakMap<ArchivedLog, Checked>();

  constructor(options: ArchiveOptions) {
    const { disk, dir } = options;
    this.#options = options;
    disk.makeFolder(dir);
    // What a copy counts as kept must not go with the name of the folder above it.
    disk.syncFolder(dirname(dir));
    const witness = parseVkey(options.witnessVkey);
    if (!witness.ok) throw new RangeError(`the witness's key: ${witness.detail}`);
    this.#witnesses = [witness.value];
  }

  /** Answers one shipment. Never throws for what a node sent, nor for what the disk does. */
  take(ask: ArchiveAsk): ArchiveAnswer {
    const { disk, dir, reserveBytes, waitingBytesMax = WAITING_BYTES_MAX } = this.#options;
    let log: ArchivedLog;
    try {
      if (disk.freeBytes(dir) < reserveBytes) {
        return refusal("archive_full", `less than ${reserveBytes} bytes free`, FULL_RETRY_MS);
      }
      log = this.#opened(ask.origin);
    } catch (error) {
      const code = error instanceof AuditFault ? "archive_damaged" : "archive_unwritten";
      return refusal(code, errorMessage(error), DAMAGED_RETRY_MS);
    }
    const refused = this.#give(log, ask);
    if (refused !== undefined) return { ...refused, next: log.next, kept: log.kept };
    try {
      const before = log.published;
      if (log.isDue || log.waitingBytes > waitingBytesMax) log.settle();
      const { published: note } = log;
      if (note !== before) this.#options.onPublished?.({ ...ask, note });
    } catch (error) {
      this.#open.delete(ask.origin);
      return refusal("archive_unwritten", errorMessage(error), UNWRITTEN_RETRY_MS);
    }
    return { refused: "", detail: "", next: log.next, kept: log.kept, retryMs: 0 };
  }

  /** Brings what was taken to the disk. What fails is sent again by its node. */
  close(): void {
    for (const origin of [...this.#open.keys()]) this.shut(origin);
  }

  /** Brings one copy to the disk and forgets it. The next shipment takes it up again from there. */
  shut(origin: string): void {
    const log = this.#open.get(origin);
    this.#open.delete(origin);
    try {
      log?.settle();
    } catch {
      // R3: nobody was told that these were kept.
    }
  }

  #give(log: ArchivedLog, ask: ArchiveAsk): ArchiveAnswer | undefined {
    const { vkey, checkpoint: note, first, proof } = ask;
    const key = parseVkey(vkey);
    const entries = unpackEntries(ask.packed);
    const areLeaves = entries.ok && entries.value.every((one) => one.length <= LEAF_BYTES_MAX);
    if (!key.ok || !entries.ok || !areLeaves || !isProof(proof)) {
      return refusal("malformed", entries.ok ? "key, entry or proof" : entries.detail);
    }
    const before = this.#checked.get(log);
    const isSame = before?.note === note && before.vkey === vkey;
    const opened = isSame
      ? before.opened
      : openCheckpoint(Buffer.from(note, "utf8"), key.value, this.#witnesses);
    if (!opened.ok) return refusal("checkpoint_refused", `${opened.flaw}: ${opened.detail}`);
    if (!isSame) this.#checked.set(log, { vkey, note, opened });
    const checkpoint = opened.value;
    const taken = log.take({ checkpoint, note, first, entries: entries.value, proof });
    return taken === "taken" ? undefined : refusal(taken, `${first} of ${checkpoint.size}`);
  }

  #opened(origin: string): ArchivedLog {
    const { disk, dir } = this.#options;
    const log =
      this.#open.get(origin) ??
      ArchivedLog.open(new LogFiles(disk, { home: dir, dir: join(dir, origin) }), this.#rooms);
    this.#open.delete(origin);
    const [oldest] = this.#open.keys();
    if (this.#open.size >= OPEN_LOGS_MAX && oldest !== undefined) this.shut(oldest);
    this.#open.set(origin, log);
    return log;
  }
}

/** A checkpoint that was right, by all that was given to open it. */
type Checked = {
  readonly vkey: string;
  readonly note: string;
  readonly opened: { readonly ok: true; readonly value: OpenedCheckpoint };
};

function refusal(refused: ArchiveRefusal, detail: string, retryMs = 0): ArchiveAnswer {
  return { refused, detail, next: 0, kept: 0, retryMs };
}
