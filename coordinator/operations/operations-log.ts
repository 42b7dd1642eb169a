/**
 * A coordinator's own log: what it was asked to do, by whom, and what it answered, and every log of a node that
 * must exist. It has the files and the
 * signatures of a node's log, so whatever verifies one verifies the other.
 *
 * O1. A record is on the disk, and signed over, before `append` returns.
 * O2. The log goes on only from what its own key has signed; anything else is a fault, and stays as it is.
 */

import { join } from "node:path";
import { AuditFault } from "../../audit/audit-fault.ts";
import {
  checkpointText,
  encodeCheckpoint,
  openCheckpoint,
  signCheckpoint,
} from "../../audit/checkpoint.ts";
import { decodeRecord, encodeLeaf, sealLeaf } from "../../audit/leaf.ts";
import { LINT_LIMITS } from "../../audit/leaf-lint.ts";
import { LogFiles } from "../../audit/log-files.ts";
import { rootAt, sameHash } from "../../audit/merkle.ts";
import type { AuditRecord, CallRecord, LogRecord } from "../../audit/record.ts";
import {
  KEY_TYPES,
  type NoteSigner,
  type VerifierKey,
  verifierKey,
} from "../../audit/signed-note.ts";
import {
  CHECKPOINT_PATH,
  readBundle,
  readTile,
  subtreesFromTiles,
  TILE_WIDTH,
} from "../../audit/tiles.ts";
import type { Disk } from "../../ports/disk.ts";
import type { Signer } from "../../ports/keys.ts";
import { ArchivedLog } from "../archive/archived-log.ts";

/** The key that signs the log, among the coordinator's. */
export const OPERATIONS_KEY = "operations";
const EPOCH = 1;

/** Whose log it is. */
export type OperationsName = {
  readonly mesh: string;
  /** The coordinator's name among the replicas. */
  readonly replica: string;
};

/** What is said of a call; the log adds whose it is. */
export type CallEntry = Omit<CallRecord, "v" | "k" | "node">;

/** What is said of a log that must exist. */
export type LogEntry = Omit<LogRecord, "v" | "node">;
export type OwnEntry = CallEntry | LogEntry;

/** The log's identity, and the name of its key. No node's log is called so: theirs have one part less. */
export function operationsOrigin({ mesh, replica }: OperationsName): string {
  return `${mesh}/coordinator/${replica}/e${EPOCH}`;
}

/** Below it a coordinator's own log lies, in the folders of its origin. */
export function operationsFolder(home: string): string {
  return join(home, "log");
}

export class OperationsLog {
  readonly #files: LogFiles;
  readonly #node: string;
  readonly #signer: NoteSigner;
  /** Undefined after a write that failed: it is taken up again from the disk. */
  #log: ArchivedLog | undefined;
  #latestMs: number;

  /**
   * Takes the log up where it was left, or begins it.
   *
   * @param options.home The coordinator's own folder, which exists.
   * @throws AuditFault What is there is not what this key has signed.
   */
  constructor(options: {
    readonly disk: Disk;
    readonly home: string;
    readonly name: OperationsName;
    readonly signer: Signer;
  }) {
    const { disk, home, name, signer } = options;
    const origin = operationsOrigin(name);
    this.#files = new LogFiles(disk, { home, dir: join(operationsFolder(home), origin) });
    this.#node = name.replica;
    const key = verifierKey(origin, KEY_TYPES.log, signer.publicKey);
    this.#signer = { key, sign: (message) => signer.sign(message) };
    this.#log = this.#opened();
    this.#latestMs = this.#lastTime(this.#log.next);
  }

  /** What its checkpoints are verified by. */
  get key(): VerifierKey {
    return this.#signer.key;
  }

  /**
   * Writes down what was asked of the coordinator, and which logs there are, in their order; at least one.
   *
   * @returns The checkpoint that covers them.
   * @throws AuditFault, RecordError, or what the disk reports: none of them is certain to be there.
   */
  append(calls: readonly OwnEntry[]): string {
    this.#log ??= this.#opened();
    const log = this.#log;
    const first = calls[0] as OwnEntry;
    const records = [
      ...this.#before(first.t, log.next),
      ...calls.map((call) => this.#record(call)),
    ];
    const entries = records.map((record, i) =>
      sealLeaf(encodeLeaf(record), { ep: EPOCH, seq: log.next + i }),
    );
    const origin = this.#signer.key.name;
    const size = log.next + entries.length;
    const text = checkpointText({ origin, size, root: log.rootWith(entries) });
    const note = encodeCheckpoint(text, [signCheckpoint(text, this.#signer)]);
    try {
      const checkpoint = this.#openedNote(Buffer.from(note, "utf8"));
      const taken = log.take({ checkpoint, note, first: log.next, entries, proof: [] });
      if (taken !== "taken") throw new AuditFault(`${origin}: ${taken}`);
      log.settle();
    } catch (error) {
      this.#log = undefined;
      throw error;
    }
    const sinceMs = records[0]?.k === "clock" ? first.t : this.#latestMs;
    this.#latestMs = Math.max(sinceMs, ...calls.map(({ t }) => t));
    return note;
  }

  /** The first leaf of all, and a word about a clock that went back. */
  #before(t: number, size: number): readonly AuditRecord[] {
    const head = { v: 1, t, node: this.#node } as const;
    if (size === 0) {
      return [{ ...head, k: "genesis", origin: this.#signer.key.name, rc: "first_epoch" }];
    }
    const stepMs = t - this.#latestMs;
    if (stepMs >= -LINT_LIMITS.backstepMsMax) return [];
    return [{ ...head, k: "clock", step_ms: stepMs }];
  }

  #record(entry: OwnEntry): CallRecord | LogRecord {
    const head = { v: 1, node: this.#node } as const;
    return "k" in entry ? { ...head, ...entry } : { ...head, k: "call", ...entry };
  }

  /** O2. */
  #opened(): ArchivedLog {
    const log = ArchivedLog.open(this.#files);
    const signed = this.#files.read(CHECKPOINT_PATH);
    if (signed === undefined) return log;
    const { size, root } = this.#openedNote(signed);
    const subtrees = subtreesFromTiles(log.next, (tile) => readTile(this.#files, tile));
    const isOwn = size <= log.next && sameHash(rootAt(size, subtrees), root);
    if (!isOwn) throw new AuditFault(`${this.#signer.key.name}: the tiles are not what was signed`);
    return log;
  }

  #openedNote(bytes: Uint8Array) {
    const opened = openCheckpoint(bytes, this.#signer.key, []);
    if (opened.ok) return opened.value;
    throw new AuditFault(`${this.#signer.key.name}: ${opened.flaw}: ${opened.detail}`);
  }

  #lastTime(size: number): number {
    if (size === 0) return 0;
    const index = Math.floor((size - 1) / TILE_WIDTH);
    const width = size - index * TILE_WIDTH;
    const bundle = readBundle(this.#files, { index, width });
    const last = bundle.ok ? bundle.value.at(-1) : undefined;
    const decoded = last && decodeRecord(last);
    if (!decoded?.ok) throw new AuditFault(`${this.#signer.key.name}: the last entry is gone`);
    return decoded.record.t;
  }
}
