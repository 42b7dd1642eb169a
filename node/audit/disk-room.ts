import { AuditFault } from "../../audit/audit-fault.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Disk } from "../../ports/disk.ts";
import { setRoom, type WalSignal } from "./wal-signal.ts";

/**
 * Free bytes below which nothing is allowed. The node's stores take no write below 16 MiB, and what
 * is allowed between two looks must not get there.
 */
export const FREE_BYTES_MIN = 48 * 1024 * 1024;
/** How often the free room is looked at, ms. */
const LOOK_EVERY_MS = 200;

/**
 * How much the log may still write. `short`: refusals only by their number. `none`: nothing is
 * allowed; what is refused is still counted.
 */
export type Room = "enough" | "short" | "none";

export type DiskRoomOptions = {
  readonly disk: Disk;
  /** A folder on the disk of the log. */
  readonly dir: string;
  /** Free bytes that are kept for allows, kills and floods. */
  readonly reserveBytes: number;
  readonly signal: WalSignal;
  readonly clock: Clock;
  /** Told when the room becomes less. */
  readonly onFault: (fault: AuditFault) => void;
};

/** Says to all writers of the log how much room its disk has. Owned by the audit thread. */
export class DiskRoom {
  readonly #options: DiskRoomOptions;
  #room: Room = "enough";
  #lookedAtNs: bigint | undefined;

  constructor(options: DiskRoomOptions) {
    this.#options = options;
  }

  /** Looks, if the last look is some time ago. */
  lookIfDue(): void {
    const nowNs = this.#options.clock.monoNs();
    const dueNs = (this.#lookedAtNs ?? 0n) + BigInt(LOOK_EVERY_MS) * 1_000_000n;
    if (this.#lookedAtNs !== undefined && nowNs < dueNs) return;
    this.#lookedAtNs = nowNs;
    this.#look();
  }

  #look(): void {
    const { disk, dir, reserveBytes, signal, onFault } = this.#options;
    const freeBytes = disk.freeBytes(dir);
    const room =
      freeBytes < FREE_BYTES_MIN ? "none" : freeBytes < reserveBytes ? "short" : "enough";
    if (room === this.#room) return;
    const isLess = room === "none" || this.#room === "enough";
    this.#room = room;
    setRoom(signal, room);
    if (!isLess) return;
    const what = room === "none" ? "nothing is allowed" : "refusals are only counted";
    onFault(new AuditFault(`the log's disk has ${freeBytes} free bytes left: ${what}`));
  }
}
