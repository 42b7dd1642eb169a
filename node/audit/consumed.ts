/**
 * What stands beside each checkpoint: how far the WALs had been read into the log at its size.
 *
 * It is on the disk before the checkpoint is signed, under a name that carries the size. So
 * whatever checkpoint a crash leaves behind, the records after it are known, and none is taken
 * twice.
 */

import { encodeCheckedLine, readCheckedLine } from "../../audit/checked-line.ts";
import { flawed, type Parsed, parsed } from "../../audit/parsed.ts";
import { canonicalJson } from "../../proto/jcs.ts";
import type { WalPosition } from "./wal-signal.ts";

/** How far one writer's files of one run were read. Lower file numbers were read whole. */
export type ReadPosition = WalPosition & { readonly run: string; readonly writer: string };

export type Consumed = {
  /** Leaves of the checkpoint it belongs to, and its root in hex. */
  readonly size: number;
  readonly root: string;
  /** Runs that sort before this one were read whole; their files may be deleted or reappear. */
  readonly doneBefore: string;
  readonly positions: readonly ReadPosition[];
  /** Latest time of a record in the log, ms since the Unix epoch. */
  readonly latestMs: number;
};

export function encodeConsumed(consumed: Consumed): Buffer {
  return encodeCheckedLine(lineOf(consumed));
}

/** Reads it back. Only what `encodeConsumed` writes is taken. */
export function decodeConsumed(bytes: Uint8Array): Parsed<Consumed, "consumed_malformed"> {
  const line = readCheckedLine(bytes);
  if (line === undefined) return flawed("consumed_malformed", "is not what was written");
  try {
    const { v, ...consumed } = JSON.parse(line) as Consumed & { readonly v: unknown };
    if (v !== 1) return flawed("consumed_malformed", `version ${v}`);
    const wrong = whatIsWrong(consumed);
    if (wrong !== undefined) return flawed("consumed_malformed", wrong);
    return lineOf(consumed) === line
      ? parsed(consumed)
      : flawed("consumed_malformed", "is not in canonical form");
  } catch (error) {
    return flawed("consumed_malformed", error instanceof Error ? error.message : "does not parse");
  }
}

function lineOf(consumed: Consumed): string {
  return canonicalJson({ ...consumed, v: 1 });
}

function whatIsWrong({
  size,
  root,
  doneBefore,
  positions,
  latestMs,
}: Consumed): string | undefined {
  if (![size, latestMs].every(isCount)) return "size or time is not a count";
  if (typeof root !== "string" || typeof doneBefore !== "string") return "a text is missing";
  if (!Array.isArray(positions)) return "positions are missing";
  return positions.every(isReadPosition) ? undefined : "a position is malformed";
}

export function isReadPosition({ run, writer, fileNo, bytes }: ReadPosition): boolean {
  return typeof run === "string" && typeof writer === "string" && isCount(fileNo) && isCount(bytes);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
