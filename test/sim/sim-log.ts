import { encodeLeaf } from "../../audit/leaf.ts";
import type { AuditRecord } from "../../audit/record.ts";
import type { DecisionLog } from "../../node/decision/commit.ts";
import type { Draw } from "./draw.ts";
import type { SimProcess } from "./sim-process.ts";

/** How often the disk of the log does what no disk should. */
export type LogFaults = { failing: number; behind: number };

/** What became of a record when it was handed over. */
export type RecordFate =
  /** The kernel has it. */
  | "kept"
  /** The disk did not take it, and its writer was told so. */
  | "lost"
  /** It lies in the loop's memory, and goes with the next write. */
  | "waits";

const SYNC_NS = 3_000_000n;
/** A loop that has much to do ends its turn so late: until then nobody else has what waits in it. */
const LONG_TURN_MS = 25;
const LONG_TURNS_SHARE = 0.1;

/** A loop's write-ahead log: takes what can be written down, unless its disk fails. */
export function simLog(of: {
  readonly process: SimProcess;
  readonly draw: Draw;
  readonly faults: LogFaults;
  readonly onRecord: (record: AuditRecord, fate: RecordFate) => void;
  /** The kernel has a record that had waited. */
  readonly onWritten: (record: AuditRecord) => void;
}): DecisionLog {
  const { process, draw, faults, onRecord, onWritten } = of;
  const waiting: AuditRecord[] = [];
  let isWritePlanned = false;
  let hasFailed = false;
  const write = (): void => {
    hasFailed = draw.chance(faults.failing);
    if (hasFailed) throw new Error("no space left on device");
    for (const record of waiting.splice(0)) onWritten(record);
  };
  const writeLater = (): void => {
    if (isWritePlanned) return;
    isWritePlanned = true;
    const delayMs = draw.chance(LONG_TURNS_SHARE) ? draw.unit() * LONG_TURN_MS : 0;
    process.clock.after(delayMs, () => {
      isWritePlanned = false;
      try {
        if (waiting.length > 0) write();
      } catch {
        // It goes on waiting for a write that succeeds.
      }
    });
  };
  return {
    canAllow: () => !hasFailed && !draw.chance(faults.behind),
    isSynced: (sinceNs) => process.clock.monoNs() - sinceNs > SYNC_NS,
    append: (record) => {
      if (!process.isAlive) return;
      encodeLeaf(record);
      try {
        write();
      } catch (error) {
        onRecord(record, "lost");
        throw error;
      }
      onRecord(record, "kept");
    },
    appendSoon: (record) => {
      if (!process.isAlive) return;
      encodeLeaf(record);
      waiting.push(record);
      onRecord(record, "waits");
      writeLater();
    },
    handOver: () => {
      if (process.isAlive && waiting.length > 0) write();
    },
  };
}
