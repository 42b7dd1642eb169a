import { LADDER_CAUSES } from "../../policy/compiled-policy.ts";
import { type Cost, STANDINGS } from "../decision/facts.ts";
import {
  type Book,
  coversCost,
  EMPTY_BOOK,
  type LeaseSettlement,
  newLease,
} from "./account-book.ts";
import type { BudgetRung, BudgetUse } from "./budget-share.ts";
import type { CauseScore } from "./cause-scores.ts";
import type { LadderState, Level } from "./ladder.ts";
import type { TableMark } from "./table-mark.ts";

/** The stored forms of an actor's state: JSON, with 64-bit amounts as decimal strings. */

type StoredCost = readonly [usdMicros: string, tokens: string, calls: string];

/** A stored value that this version cannot read; the agent is not served until somebody looked. */
export class StoredStateError extends Error {}

/** What a crash must not forget: leases, what of them was lent, debt, and what lay in the table. */
export function encodeBook(book: Book, mark?: TableMark): Uint8Array {
  return encode({
    ...(mark && { mark: { ...mark, unheld: pack(mark.unheld), open: mark.open.map(pack) } }),
    leases: book.leases.map(({ id, epoch, amount, lent }) => ({
      id,
      epoch,
      amount: pack(amount),
      lent: pack(lent),
    })),
    debt: pack(book.debt),
  });
}

/** Deadlines belong to the boot that got the lease: after a restart every lease is past its own. */
export function decodeBook(bytes: Uint8Array): Book {
  return decoding(() => {
    const stored = decode(bytes);
    const leases = asList(stored.leases).map((one) => {
      const amount = unpack(one.amount);
      const lent = unpack(one.lent);
      if (!coversCost(amount, lent)) throw new TypeError("more was lent than there was");
      const id = asText(one.id);
      return { ...newLease({ id, epoch: asCount(one.epoch), amount, deadlineNs: 0n }), lent };
    });
    return { ...EMPTY_BOOK, leases, debt: unpack(stored.debt) };
  });
}

/** Undefined where none was stored, as by an earlier version. */
export function decodeTableMark(bytes: Uint8Array): TableMark | undefined {
  return decoding(() => {
    const { mark } = decode(bytes);
    if (mark === undefined) return undefined;
    const { run, ends, unheld, open } = asObject(mark);
    if (!Array.isArray(open)) throw new TypeError("not a list");
    const places = Object.entries(asObject(ends)).map(([writer, place]) => {
      const { fileNo, bytes: before } = asObject(place);
      return [writer, { fileNo: asCount(fileNo), bytes: asCount(before) }] as const;
    });
    return {
      run: asText(run),
      ends: Object.fromEntries(places),
      unheld: unpack(unheld),
      open: open.map(unpack),
    };
  });
}

export function encodeLadder(ladder: LadderState): Uint8Array {
  return encode(ladder);
}

export function decodeLadder(bytes: Uint8Array): LadderState {
  return decoding(() => {
    const stored = decode(bytes);
    const evidence = asObject(stored.evidence);
    return {
      standing: asLevel(stored.standing),
      sinceMs: asCount(stored.sinceMs),
      cause: asText(stored.cause) as LadderState["cause"],
      requestId: stored.requestId === undefined ? undefined : asText(stored.requestId),
      level: asLevel(stored.level),
      levelSinceMs: asCount(stored.levelSinceMs),
      scores: asList(stored.scores).map(asScore),
      watchedUntilMs: asCount(stored.watchedUntilMs),
      rung: asRung(stored.rung),
      uses: asList(stored.uses).map(asUse),
      others: asLevel(stored.others),
      killFor: stored.killFor === undefined ? undefined : asCause(stored.killFor),
      evidence: { sinceMs: asCount(evidence.sinceMs), count: asCount(evidence.count) },
    };
  });
}

function asScore(stored: Record<string, unknown>): CauseScore {
  const { decayed } = stored;
  if (typeof decayed !== "number" || !(decayed >= 0)) throw new TypeError("not a score");
  return {
    cause: asCause(stored.cause),
    count: asCount(stored.count),
    lastAtMs: asCount(stored.lastAtMs),
    fresh: asList(stored.fresh).map(({ sinceMs, milli }) => ({
      sinceMs: asCount(sinceMs),
      milli: asCount(milli),
    })),
    decayed,
    decayedAtMs: asCount(stored.decayedAtMs),
  };
}

function asUse(stored: Record<string, unknown>): BudgetUse {
  const { unit } = stored;
  if (unit !== "usdMicros" && unit !== "tokens" && unit !== "calls") throw new TypeError("no unit");
  return {
    unit,
    window: asText(stored.window),
    limit: asCount(stored.limit),
    spent: asCount(stored.spent),
    endsAtMs: asCount(stored.endsAtMs),
  };
}

function asRung(value: unknown): BudgetRung {
  if (value === 0 || value === 1 || value === 2 || value === 3) return value;
  throw new TypeError("not a rung");
}

function asLevel(value: unknown): Level {
  const standing = STANDINGS.find((one) => one === value && one !== "kill");
  if (standing === undefined) throw new TypeError("not a level");
  return standing as Level;
}

function asCause(value: unknown): CauseScore["cause"] {
  const cause = LADDER_CAUSES.find((one) => one === value);
  if (cause === undefined) throw new TypeError("not a cause");
  return cause;
}

export function encodeSettlement(settlement: LeaseSettlement): Uint8Array {
  const { spent, keep } = settlement;
  return encode({ ...settlement, spent: pack(spent), ...(keep && { keep: pack(keep) }) });
}

export function decodeSettlement(bytes: Uint8Array): LeaseSettlement {
  return decoding(() => {
    const stored = decode(bytes);
    return {
      leaseId: asText(stored.leaseId),
      epoch: asCount(stored.epoch),
      spent: unpack(stored.spent),
      final: stored.final === true,
      ...(stored.keep !== undefined && { keep: unpack(stored.keep) }),
    };
  });
}

function pack(cost: Cost): StoredCost {
  return [String(cost.usdMicros), String(cost.tokens), String(cost.calls)];
}

function unpack(value: unknown): Cost {
  if (!Array.isArray(value) || value.length !== 3) throw new TypeError("not amounts");
  const [usdMicros, tokens, calls] = value.map((one) => BigInt(asText(one)));
  const cost = { usdMicros, tokens, calls } as Cost;
  if (cost.usdMicros < 0n || cost.tokens < 0n || cost.calls < 0n) throw new TypeError("negative");
  return cost;
}

function encode(value: object): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function decode(bytes: Uint8Array): Record<string, unknown> {
  return asObject(JSON.parse(Buffer.from(bytes).toString("utf8")));
}

function asObject(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw new TypeError("not an object");
  return value as Record<string, unknown>;
}

function asList(value: unknown): Record<string, unknown>[] {
  if (!Array.isArray(value)) throw new TypeError("not a list");
  return value.map(asObject);
}

function asText(value: unknown): string {
  if (typeof value !== "string") throw new TypeError("not a text");
  return value;
}

function asCount(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new TypeError("not a count");
  return value as number;
}

function decoding<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new StoredStateError("stored actor state cannot be read", { cause });
  }
}
