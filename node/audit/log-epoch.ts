/** Which of a node's logs is the one that grows, and why it was opened. */

import { join } from "node:path";
import { AuditFault } from "../../audit/audit-fault.ts";
import { LogFiles } from "../../audit/log-files.ts";
import type { Disk } from "../../ports/disk.ts";

/** Why an epoch was opened. */
export type EpochOpening = {
  /** Snake case: `first_epoch`, or `disowned` when a witness had seen another history of the last one. */
  readonly rc: string;
  /** What the witness had cosigned last of the epoch before, verbatim. */
  readonly prev?: string;
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
    const { epoch, opening } = JSON.parse(bytes.toString("utf8")) as LogEpoch;
    if (Number.isSafeInteger(epoch) && epoch > 1 && typeof opening.rc === "string") {
      return { epoch, opening };
    }
  } catch {
    // Said below.
  }
  throw new AuditFault(`${join(home, FOLDER, NAME)} is not what was written`);
}

/** Makes the next start open a log of its own. It is on the disk when this returns. */
export function openNextEpoch(disk: Disk, home: string, opening: EpochOpening): void {
  const { epoch } = currentEpoch(disk, home);
  const files = filesOf(disk, home);
  files.put(NAME, Buffer.from(`${JSON.stringify({ epoch: epoch + 1, opening })}\n`, "utf8"));
  files.settle(() => undefined);
}

function filesOf(disk: Disk, home: string): LogFiles {
  return new LogFiles(disk, { home, dir: join(home, FOLDER) });
}
