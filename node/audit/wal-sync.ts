/**
 * Brings the writers' WAL files to the disk and says in the table how far that is.
 *
 * S1. `synced_at` of a writer is an instant before which everything it appended is on the disk: it
 *     is taken before positions are read, and stored after all syncs succeeded.
 * S2. A file counts only once its name is on the disk too.
 * S3. After a failed sync a writer is never counted again: the kernel reports lost pages once,
 *     marks them clean, and the next sync would succeed without them.
 * S4. A round that synced something is followed by one that finds nothing new. A frame may be
 *     synced by a round that began before the writer took the time of it; only the next round says
 *     so.
 *
 * @see https://www.usenix.org/conference/atc20/presentation/rebello (what follows a failed fsync)
 */

import { AuditFault } from "../../audit/audit-fault.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Disk } from "../../ports/disk.ts";
import { setSyncedAtNs, type Table } from "../table/table.ts";
import { MarkReader } from "./leaf-marks.ts";
import { walPath } from "./wal-files.ts";
import { marksOf, positionOf, type WalPosition, type WalSignal } from "./wal-signal.ts";

export type WalWriterName = { readonly no: number; readonly name: string };

export type WalSyncOptions = {
  readonly dir: string;
  readonly run: string;
  readonly writers: readonly WalWriterName[];
  readonly table: Table;
  readonly signal: WalSignal;
  readonly clock: Clock;
  readonly disk: Disk;
  /** Told once for a writer whose sync failed, and once while its files cannot be opened. */
  readonly onFault: (fault: AuditFault) => void;
};

type Followed = WalWriterName & {
  /** What is on the disk. */
  synced: WalPosition;
  /** Open files by number: the one that `synced` lies in, and later ones. */
  readonly fds: Map<number, number>;
  isLost: boolean;
  isUnopened: boolean;
};

type Behind = { readonly one: Followed; readonly target: WalPosition };

export class WalSync {
  readonly #options: WalSyncOptions;
  readonly #followed: readonly Followed[];
  #roundAtNs = 0n;
  /** The last round synced something, see S4. */
  #isUnconfirmed = false;

  constructor(options: WalSyncOptions) {
    this.#options = options;
    this.#followed = options.writers.map((writer) => ({
      ...writer,
      synced: { fileNo: 0, bytes: 0 },
      fds: new Map(),
      isLost: false,
      isUnopened: false,
    }));
  }

  /** When the last round began, monotonic ns; 0 before the first. */
  get roundAtNs(): bigint {
    return this.#roundAtNs;
  }

  /** Whether another round would say more than the last one did. */
  hasNews(): boolean {
    if (this.#isUnconfirmed) return true;
    return this.#followed.some((one) => !one.isLost && !isSame(this.#written(one), one.synced));
  }

  /** What of each writer is on the disk. */
  synced(): readonly (WalWriterName & { readonly position: WalPosition })[] {
    return this.#followed.map(({ no, name, synced }) => ({ no, name, position: synced }));
  }

  /** What a writer tells of its leaves, from its first one on. */
  marksOf(name: string): MarkReader | undefined {
    const writer = this.#followed.find((one) => one.name === name);
    return writer && new MarkReader(marksOf(this.#options.signal, writer.no));
  }

  /**
   * Syncs what the writers have published by now. Never throws: faults are told.
   *
   * @returns Whether more is on the disk than before.
   */
  round(): boolean {
    const startNs = this.#options.clock.monoNs();
    this.#roundAtNs = startNs;
    this.#isUnconfirmed = false;
    const behind: Behind[] = [];
    for (const one of this.#followed) {
      if (one.isLost) continue;
      const target = this.#written(one);
      if (isSame(one.synced, target)) setSyncedAtNs(this.#options.table, one.no, startNs);
      else if (this.#open(one, target)) behind.push({ one, target });
    }
    if (!this.#syncNames(behind)) return false;
    for (const each of behind) this.#syncFiles(each, startNs);
    return this.#isUnconfirmed;
  }

  close(): void {
    for (const { fds } of this.#followed) {
      for (const fd of fds.values()) this.#options.disk.close(fd);
      fds.clear();
    }
  }

  #written({ no }: Followed): WalPosition {
    return positionOf(this.#options.signal, no);
  }

  /**
   * Opens what is new up to the target; false when that failed, which the next round tries again.
   */
  #open(one: Followed, target: WalPosition): boolean {
    const { dir, run, disk } = this.#options;
    try {
      for (let no = Math.max(1, one.synced.fileNo); no <= target.fileNo; no++) {
        if (one.fds.has(no)) continue;
        one.fds.set(no, disk.open(walPath(dir, { run, writer: one.name, no })));
      }
      one.isUnopened = false;
      return true;
    } catch (cause) {
      if (!one.isUnopened) this.#tell(`${one.name}: a log file cannot be opened to sync it`, cause);
      one.isUnopened = true;
      return false;
    }
  }

  #syncNames(behind: readonly Behind[]): boolean {
    if (!behind.some(({ one, target }) => one.synced.fileNo < target.fileNo)) return true;
    try {
      this.#options.disk.syncFolder(this.#options.dir);
      return true;
    } catch (cause) {
      // Which names are lost cannot be told, so all that had one waiting are.
      for (const { one, target } of behind) {
        if (one.synced.fileNo < target.fileNo) this.#lose(one, cause);
      }
      return false;
    }
  }

  #syncFiles({ one, target }: Behind, startNs: bigint): void {
    const { disk, table } = this.#options;
    try {
      for (const [no, fd] of one.fds) {
        disk.syncData(fd);
        if (no === target.fileNo) continue;
        one.fds.delete(no);
        disk.close(fd);
      }
    } catch (cause) {
      this.#lose(one, cause);
      return;
    }
    one.synced = target;
    this.#isUnconfirmed = true;
    setSyncedAtNs(table, one.no, startNs);
  }

  #lose(one: Followed, cause: unknown): void {
    one.isLost = true;
    this.#tell(
      `${one.name}: a sync failed, so nothing of this writer counts until a restart`,
      cause,
    );
  }

  #tell(message: string, cause: unknown): void {
    this.#options.onFault(new AuditFault(message, { cause }));
  }
}

function isSame(a: WalPosition, b: WalPosition): boolean {
  return a.fileNo === b.fileNo && a.bytes === b.bytes;
}
