import { encodeLeaf } from "../../audit/leaf.ts";
import type { AuditRecord } from "../../audit/record.ts";
import type { DecisionLog } from "../../node/decision/commit.ts";
import type { Draw } from "./draw.ts";
import type { SimProcess } from "./sim-process.ts";

/** How often the disk of the log does what no disk should. */
export type LogFaults = { failing: number; behind: number };

const SYNC_NS = 3_000_000n;

/** A loop's write-ahead log: takes what can be written down, unless its disk fails. */
export function simLog(of: {
  readonly process: SimProcess;
  readonly draw: Draw;
  readonly faults: LogFaults;
  /** @param isKept False: the disk did not take it, and its writer was told so. */
  readonly onRecord: (record: AuditRecord, isKept: boolean) => void;
}): DecisionLog {
  const { process, draw, faults, onRecord } = of;
  const append = (record: AuditRecord): void => {
    if (!process.isAlive) return;
    encodeLeaf(record);
    const isKept = !draw.chance(faults.failing);
    onRecord(record, isKept);
    if (!isKept) throw new Error("no space left on device");
  };
  return {
    canAllow: () => !draw.chance(faults.behind),
    isSynced: (sinceNs) => process.clock.monoNs() - sinceNs > SYNC_NS,
    append,
    appendSoon: append,
  };
}
