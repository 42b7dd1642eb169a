import { AuditFault } from "../../audit/audit-fault.ts";
import { decodeRecord } from "../../audit/leaf.ts";
import type { Amounts, AuditRecord } from "../../audit/record.ts";
import type { Disk } from "../../ports/disk.ts";
import type { LogMark } from "../actors/table-mark.ts";
import type { Cost } from "../decision/facts.ts";
import { readPiece } from "./read-wal.ts";
import { listWalFiles, type WalFile, walPath } from "./wal-files.ts";
import type { WalPosition } from "./wal-signal.ts";

// What requests have used of their accounts since a mark, by the log of a run that has crashed.
//
// U1. It is never less than what left the table's balance: a hold is taken before its record is written
//     (`commit`), so every hold that was taken after the mark has its record behind it.
// U2. A hold without an outcome counts whole. One with an outcome counts as that; what a request from
//     before the mark gave back is not counted for it, and what it used beyond its hold is.
// U3. An account counts only where every file from its mark on is there: one that is gone was read into
//     the log and deleted.

/** The account of which every hold with distrust takes a share. */
const OVERRUN = "overrun";

export type LoggedRecord = {
  readonly writer: string;
  /** Where its frame begins. */
  readonly at: WalPosition;
  readonly record: AuditRecord;
};

type Marks = ReadonlyMap<string, LogMark["ends"]>;

/** Reads it from the files of one run. @throws What the disk throws. */
export function usedInWal(
  disk: Pick<Disk, "list" | "open" | "size" | "read" | "close">,
  dir: string,
  { run, marks }: { readonly run: string; readonly marks: Marks },
): ReadonlyMap<string, Cost> {
  const files = listWalFiles(disk, dir).filter((file) => file.run === run);
  const provable = [...marks].filter(([, ends]) => areThere(files, ends));
  if (provable.length === 0) return new Map();
  return usedSince(recordsOf(disk, dir, files), new Map(provable));
}

/** @param records Of each writer in the order in which it wrote them. */
export function usedSince(
  records: Iterable<LoggedRecord>,
  marks: Marks,
): ReadonlyMap<string, Cost> {
  const used = new Map([...marks.keys()].map((account) => [account, { ...NOTHING }]));
  const open = new Map<string, LoggedHold>();
  const add = (account: string, one: Omit<LoggedRecord, "record">, amount: Cost): void => {
    const sum = used.get(account);
    if (sum === undefined || !isBehind(one, marks.get(account) as LogMark["ends"])) return;
    sum.usdMicros += amount.usdMicros;
    sum.tokens += amount.tokens;
    sum.calls += amount.calls;
  };
  const end = (hold: LoggedHold, spent: Amounts, at: Omit<LoggedRecord, "record">): void => {
    for (const { account, held, outcome } of sharesOf(hold, spent)) {
      const ends = marks.get(account);
      if (ends === undefined) continue;
      if (isBehind(hold, ends)) add(account, hold, outcome);
      else add(account, at, beyond(outcome, held));
    }
  };
  for (const { record, ...at } of records) {
    if (record.k === "decision" && record.hold !== undefined && record.dec !== "deny") {
      open.set(record.rid, { ...at, account: record.hold.acct, held: record.hold });
    }
    if (record.k !== "settle") continue;
    const hold = open.get(record.rid);
    open.delete(record.rid);
    if (hold !== undefined) end(hold, record.settled, at);
    // Its hold is in a file that is gone, so whose it was is not known, nor how far it went beyond.
    else
      for (const account of marks.keys()) add(account, at, unknownShare(account, record.settled));
  }
  for (const hold of open.values()) {
    for (const { account, held } of sharesOf(hold, hold.held)) add(account, hold, held);
  }
  return used;
}

type LoggedHold = Omit<LoggedRecord, "record"> & {
  readonly account: string;
  readonly held: Amounts;
};

type Share = { readonly account: string; readonly held: Cost; readonly outcome: Cost };

function sharesOf({ account, held }: LoggedHold, spent: Amounts): readonly Share[] {
  return [
    { account, held: costOf(held), outcome: costOf(spent) },
    { account: OVERRUN, held: overrunOf(held), outcome: overrunOf(spent) },
  ];
}

function unknownShare(account: string, settled: Amounts): Cost {
  return account === OVERRUN ? overrunOf(settled) : costOf(settled);
}

function costOf({ usd_u, tok, calls }: Amounts): Cost {
  return { usdMicros: BigInt(usd_u), tokens: BigInt(tok), calls: BigInt(calls) };
}

function overrunOf({ over_u }: Amounts): Cost {
  return { ...NOTHING, usdMicros: BigInt(over_u) };
}

function beyond(outcome: Cost, held: Cost): Cost {
  const over = (unit: keyof Cost) => (outcome[unit] > held[unit] ? outcome[unit] - held[unit] : 0n);
  return { usdMicros: over("usdMicros"), tokens: over("tokens"), calls: over("calls") };
}

const NOTHING = { usdMicros: 0n, tokens: 0n, calls: 0n };

/** What a writer wrote that was not there at the mark is behind it. */
function isBehind({ writer, at }: Omit<LoggedRecord, "record">, ends: LogMark["ends"]): boolean {
  const end = ends[writer];
  if (end === undefined) return true;
  return at.fileNo === end.fileNo ? at.bytes >= end.bytes : at.fileNo > end.fileNo;
}

/** U3. Files of a writer are numbered from 1; one that had none at the mark had not begun. */
function areThere(files: readonly WalFile[], ends: LogMark["ends"]): boolean {
  return Object.entries(ends).every(([writer, { fileNo }]) => {
    const numbers = files.filter((file) => file.writer === writer).map(({ no }) => no);
    const first = Math.max(1, fileNo);
    const last = numbers.at(-1) ?? 0;
    if (last < first) return fileNo === 0 && last === 0;
    return numbers.filter((no) => no >= first).length === last - first + 1;
  });
}

function* recordsOf(
  disk: Pick<Disk, "open" | "size" | "read" | "close">,
  dir: string,
  files: readonly WalFile[],
): Generator<LoggedRecord> {
  for (const file of files) {
    const fd = disk.open(walPath(dir, file));
    try {
      const until = disk.size(fd);
      for (let from = 0; from < until; ) {
        const { leaves, ends, endsAt } = readPiece(disk, fd, { at: from, until });
        for (const [index, leaf] of leaves.entries()) {
          const decoded = decodeRecord(leaf);
          const bytes = ends[index - 1] ?? from;
          if (!decoded.ok) throw new AuditFault(`${walPath(dir, file)} at ${bytes} is no record`);
          yield { writer: file.writer, at: { fileNo: file.no, bytes }, record: decoded.record };
        }
        if (endsAt === from) break;
        from = endsAt;
      }
    } finally {
      disk.close(fd);
    }
  }
}
