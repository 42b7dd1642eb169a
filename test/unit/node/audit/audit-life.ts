/** A node's audit trail without its threads, on a disk in memory: one start of it is one life. */

import { decodeRecord } from "../../../../audit/leaf.ts";
import type { AuditRecord, Place } from "../../../../audit/record.ts";
import type { VerifierKey } from "../../../../audit/signed-note.ts";
import { bundlesOf, readBundle } from "../../../../audit/tiles.ts";
import { type Anchor, type VerifyReport, verifyLog } from "../../../../audit/verify-log.ts";
import type { EpochLimits } from "../../../../node/audit/epoch-end.ts";
import { currentEpoch } from "../../../../node/audit/log-epoch.ts";
import { logFolder, logSigner } from "../../../../node/audit/log-origin.ts";
import { LogThread } from "../../../../node/audit/log-thread.ts";
import {
  bootRecord,
  recoverWal,
  runEndRecord,
  type WalRecovery,
} from "../../../../node/audit/recover-wal.ts";
import { createWalSignal, type WalSignal } from "../../../../node/audit/wal-signal.ts";
import { WalSync } from "../../../../node/audit/wal-sync.ts";
import { openWal, type Wal } from "../../../../node/audit/wal-writer.ts";
import { createTable, syncedAtNs, type Table } from "../../../../node/table/table.ts";
import { type TwinClock, twinClock } from "../../../../ports/twin-clock.ts";
import { type TwinKeys, twinKeys } from "../../../../ports/twin-keys.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import { ALLOW, DENY } from "../../audit/sample-records.ts";
import type { TwinDisk } from "./twin-disk.ts";

export const HOME = "/home";
export const WAL_DIR = `${HOME}/wal`;
export const LOG_NAME = { mesh: "acme", node: "node-7", epoch: 1 };
export const LOG_DIR = logFolder(HOME, LOG_NAME);
export const WRITERS = [
  { no: 0, name: "loop0" },
  { no: 1, name: "loop1" },
  { no: 2, name: "control" },
] as const;

/** An append that returned. */
export type Acked = {
  readonly rid: string;
  readonly kind: "decision" | "settle";
  readonly writer: number;
  readonly atNs: bigint;
};

export type World = {
  readonly clock: TwinClock;
  readonly keys: TwinKeys;
  /** Counts requests over all lives. */
  nextRequest: number;
  readonly acked: Acked[];
};

export function newWorld(): World {
  return { clock: twinClock(), keys: twinKeys(twinRandom(7)), nextRequest: 0, acked: [] };
}

/** A copy whose clock stands where the other's does. */
export function copyOfWorld(world: World): World {
  const clock = twinClock({ nowMs: world.clock.nowMs(), monoNs: world.clock.monoNs() });
  return { ...world, clock, acked: [...world.acked] };
}

export type LifeOptions = {
  readonly kernelBootId?: string;
  readonly fileBytesMax?: number;
  readonly limits?: EpochLimits;
};

export class Life {
  readonly world: World;
  readonly disk: TwinDisk;
  readonly recovery: WalRecovery;
  readonly table: Table;
  readonly signal: WalSignal;
  readonly wals: readonly Wal[];
  readonly sync: WalSync;
  readonly log: LogThread;
  readonly faults: string[] = [];
  /** Checkpoints that were signed, as a witness is told of them. */
  readonly signed: string[] = [];
  readonly opened: number[] = [];

  constructor(world: World, disk: TwinDisk, options: LifeOptions = {}) {
    const { clock, keys } = world;
    this.world = world;
    this.disk = disk;
    this.recovery = recoverWal({
      dir: WAL_DIR,
      random: twinRandom(world.nextRequest),
      clock,
      disk,
      kernelBootId: options.kernelBootId ?? "boot-1",
    });
    const { run } = this.recovery;
    this.table = createTable({
      rows: 16,
      loops: 2,
      scopes: 4,
      writers: WRITERS.length,
      proofs: 64,
    });
    this.signal = createWalSignal(WRITERS.length);
    const shared = { dir: WAL_DIR, run, table: this.table, signal: this.signal, clock, disk };
    const { fileBytesMax } = options;
    this.wals = WRITERS.map((writer) =>
      openWal({
        ...shared,
        writer,
        syncMaxMs: 1_000,
        ...(fileBytesMax !== undefined && { fileBytesMax }),
      }),
    );
    const onFault = (fault: Error): void => {
      this.faults.push(fault.message);
    };
    this.sync = new WalSync({ ...shared, writers: WRITERS, onFault });
    const { sync } = this;
    const { epoch, opening } = currentEpoch(disk, HOME);
    this.log = new LogThread({
      name: { ...LOG_NAME, epoch },
      opening,
      ...(options.limits !== undefined && { limits: options.limits }),
      onSigned: (checkpoint) => this.signed.push(checkpoint),
      onOpened: (one) => this.opened.push(one.epoch),
      home: HOME,
      walDir: WAL_DIR,
      run,
      sync,
      keys,
      clock,
      disk,
      onFault,
    });
    const now = { t: clock.nowMs(), node: "node-7" };
    this.wals[2]?.append(bootRecord(this.recovery, { ...now, version: "0.1.0" }));
  }

  deny(loop: 0 | 1): string {
    const rid = nextRid(this.world);
    this.append(loop, { ...DENY, rid, t: this.world.clock.nowMs() });
    return rid;
  }

  allow(loop: 0 | 1): string {
    const rid = nextRid(this.world);
    this.append(loop, { ...ALLOW, rid, t: this.world.clock.nowMs() });
    return rid;
  }

  append(writer: number, record: AuditRecord): void {
    this.wals[writer]?.append(record);
    if (record.k !== "decision" && record.k !== "settle") return;
    const { clock, acked } = this.world;
    acked.push({ rid: record.rid, kind: record.k, writer, atNs: clock.monoNs() });
  }

  /** One turn of the audit thread. */
  turn(): void {
    this.sync.round();
    while (this.log.absorb(() => undefined));
  }

  /** A turn that signs, if there is anything to sign. */
  checkpoint(): void {
    this.world.clock.advance(1_001);
    this.turn();
  }

  stop(): void {
    this.wals[2]?.append(runEndRecord({ t: this.world.clock.nowMs(), node: "node-7" }));
    for (const wal of this.wals) wal.close();
    this.sync.round();
    this.log.finish();
    this.sync.close();
  }

  syncedNs(writer: number): bigint {
    return syncedAtNs(this.table, writer);
  }
}

export function nextRid(world: World): string {
  const no = world.nextRequest++;
  return `01998f3e-7c1a-7b2c-9d3e-${no.toString(16).padStart(12, "0")}`;
}

export function logKey(world: World, epoch = 1): VerifierKey {
  return logSigner(world.keys, { ...LOG_NAME, epoch }).key;
}

export function readerOf(disk: TwinDisk, epoch = 1): { read(path: string): Buffer | undefined } {
  const dir = logFolder(HOME, { ...LOG_NAME, epoch });
  return { read: (path) => disk.contentOf(`${dir}/${path}`) };
}

export function verify(
  world: World,
  disk: TwinDisk,
  anchors: readonly Anchor[] = [],
  epoch = 1,
): VerifyReport {
  return verifyLog({ reader: readerOf(disk, epoch), logKey: logKey(world, epoch), anchors });
}

/** Every record of the log, as its checkpoint has it. */
export function recordsIn(
  disk: TwinDisk,
  size: number,
  epoch = 1,
): readonly (AuditRecord & Partial<Place>)[] {
  return [...bundlesOf(size)].flatMap((bundle) => {
    const entries = readBundle(readerOf(disk, epoch), bundle);
    if (!entries.ok) throw new Error(entries.detail);
    return entries.value.map((entry) => {
      const decoded = decodeRecord(entry);
      if (!decoded.ok) throw new Error(decoded.detail);
      return decoded.record;
    });
  });
}
