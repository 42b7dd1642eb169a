/** Which of a node's logs is the one that grows, and why it was opened. */

import { join } from "node:path";
import { AuditFault } from "../../audit/audit-fault.ts";
import { encodeCheckedLine, readCheckedLine } from "../../audit/checked-line.ts";
import { LogFiles } from "../../audit/log-files.ts";
import type { Disk } from "../../ports/disk.ts";
import { type Consumed, isReadPosition } from "./consumed.ts";

/** How far the WALs were read into the epochs before. */
export type ConsumedBefore = Pick<Consumed, "doneBefore" | "positions">;

/** Why an epoch was opened. */
export type EpochOpening = {
  /**
   * Snake case: `first_epoch`; `disowned` when a witness had seen another history of the last one; or why that
   * one was ended, see `epoch-end.ts`.
   */
  readonly rc: string;
  /** The last checkpoint of the epoch before, verbatim. When disowned, what the witness had cosigned last. */
  readonly prev?: string;
  /** The new log goes on where the one before was ended. Absent: it takes what the WALs still have. */
  readonly consumed?: ConsumedBefore;
};

export type LogEpoch = { readonly epoch: number; readonly opening: EpochOpening };

const FOLDER = "log";
const NAME = "epoch.json";
const FIRST: LogEpoch = { epoch: 1, opening: { rc: "first_epoch" } };

/** @throws AuditFault The file is there and is not what was written. */
export function currentEpoch(disk: Disk, home: string): LogEpoch {
  const bytes = filesOf(disk, home).read(NAME);
  if (bytes === undefined) return FIRST;
  try {
    const { epoch, opening } = JSON.parse(readCheckedLine(bytes) ?? "") as LogEpoch;
    const isRead = opening.consumed === undefined || isConsumed(opening.consumed);
    if (Number.isSafeInteger(epoch) && epoch > 1 && typeof opening.rc === "string" && isRead) {
      return { epoch, opening };
    }
  } catch {
    // Said below.
  }
  throw new AuditFault(`${join(home, FOLDER, NAME)} is not what was written`);
}

/**
 * Says that a log of its own comes after `epoch`, for whoever opens it. It is on the disk when this returns.
 *
 * @param next `behind`: a later epoch whose log is not here and exists, so that the new one comes after that.
 * @returns False when another word was kept before: a log has one successor.
 * @throws What the disk reports.
 */
export function openEpochAfter(
  disk: Disk,
  home: string,
  next: { readonly epoch: number; readonly opening: EpochOpening; readonly behind?: number },
): boolean {
  if (currentEpoch(disk, home).epoch !== next.epoch) return false;
  const files = filesOf(disk, home);
  const last = Math.max(next.epoch, next.behind ?? 0);
  const text = JSON.stringify({ epoch: last + 1, opening: next.opening });
  files.put(NAME, encodeCheckedLine(text));
  files.settle(() => undefined);
  return true;
}

function isConsumed({ doneBefore, positions }: ConsumedBefore): boolean {
  return (
    typeof doneBefore === "string" && Array.isArray(positions) && positions.every(isReadPosition)
  );
}

function filesOf(disk: Disk, home: string): LogFiles {
  return new LogFiles(disk, { home, dir: join(home, FOLDER) });
}
