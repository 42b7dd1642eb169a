import { strictDecimal } from "../../audit/strict-text.ts";
import type { LogReader } from "../../audit/tiles.ts";

/** When a log is ended and followed by another one, so that old ones can be retired whole. */
export type EpochLimits = {
  /** Leaves after which it is ended. */
  readonly records: number;
  /** Time after its first record, ms. */
  readonly ageMs: number;
};

/** Why a log was ended: what its last leaf and the first one of the next log say. */
export type EpochEnd = "epoch_full" | "epoch_age";

/** Logs of one node: a witness refuses more. The last of them is never ended. */
export const EPOCHS_MAX = 1_024;

/** Where a log says when it was opened: its first record may be gone when that is asked. */
export const OPENED_PATH = "opened";

/**
 * @param openedMs When its first record was made, ms since the Unix epoch.
 * @returns Undefined: it goes on.
 */
export function epochEndOf(
  log: { readonly epoch: number; readonly size: number; readonly openedMs: number },
  limits: EpochLimits,
  nowMs: number,
): EpochEnd | undefined {
  if (log.size === 0 || log.epoch >= EPOCHS_MAX) return undefined;
  if (log.size >= limits.records) return "epoch_full";
  return nowMs - log.openedMs >= limits.ageMs ? "epoch_age" : undefined;
}

/** When the log says that it was opened; undefined in one of a program that did not say so. */
export function openedMsOf(reader: LogReader): number | undefined {
  const bytes = reader.read(OPENED_PATH);
  return bytes === undefined ? undefined : strictDecimal(Buffer.from(bytes).toString().trimEnd());
}

export function encodeOpened(ms: number): Buffer {
  return Buffer.from(`${ms}\n`, "latin1");
}
