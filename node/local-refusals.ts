import {
  atLeastZero,
  byUnit,
  coversCost,
  isNothing,
  least,
  minus,
  plus,
} from "./actors/account-book.ts";
import type { Cost } from "./decision/facts.ts";
import type { TopUpRequest } from "./loop-control-link.ts";
import { balance, overrunBalance } from "./table/lend.ts";
import { moneyReturned, overrunRefusalNo, refusalNo } from "./table/refusal-no.ts";
import { UNIT, unlimitedUnits } from "./table/standing.ts";
import type { Table } from "./table/table.ts";
import type { StandingRefusal, TopUpAnswer } from "./thread-messages.ts";

/** Noes that one loop remembers; the oldest is asked for again. */
export const REFUSALS_KEPT_MAX = 4_096;

type Kept = { readonly generation: number; readonly refusal: StandingRefusal };

/**
 * The ledger's noes that this loop was told, to be said again without asking.
 *
 * An agent whose budget is used up may ask thousands of times a second: its actor and the ledger hear
 * of a few of these. A no is repeated only to whoever needs as much or more, while the table carries its
 * number and no money went back to the ledger, and no longer than the ledger's word is believed at all.
 */
export class LocalRefusals {
  readonly #table: Table;
  readonly #nowNs: () => bigint;
  readonly #ofRow = new Map<number, Kept>();
  #overrun: StandingRefusal | undefined;

  constructor(table: Table, nowNs: () => bigint) {
    this.#table = table;
    this.#nowNs = nowNs;
  }

  /** Remembers an answer's no, if it carries one. */
  note({ row, generation }: TopUpRequest, { outcome, refusal }: TopUpAnswer): void {
    if (refusal === undefined) return;
    if (outcome === "overrun_exhausted") this.#overrun = refusal;
    if (outcome !== "exhausted") return;
    this.#ofRow.delete(row);
    this.#ofRow.set(row, { generation, refusal });
    const [oldest] = this.#ofRow.keys();
    if (this.#ofRow.size > REFUSALS_KEPT_MAX && oldest !== undefined) this.#ofRow.delete(oldest);
  }

  /** What the actor would answer; undefined: it has to be asked. The row is pinned by the caller. */
  answerTo(request: TopUpRequest): TopUpAnswer | undefined {
    const { overrunMicros } = request;
    const inOverrun = overrunBalance(this.#table);
    // The actor, too, asks for the row's own money only once the overrun account covers its share.
    if (overrunMicros > inOverrun) return this.#overrunNo(overrunMicros - inOverrun);
    return this.#rowNo(request);
  }

  #overrunNo(shortMicros: bigint): TopUpAnswer | undefined {
    const refusal = this.#overrun;
    if (!this.#stands(refusal, overrunRefusalNo(this.#table))) return undefined;
    if (shortMicros - refusal.lendable.usdMicros < refusal.need.usdMicros) return undefined;
    return { outcome: "overrun_exhausted", refusal };
  }

  #rowNo({ row, generation, need, floor }: TopUpRequest): TopUpAnswer | undefined {
    const kept = this.#ofRow.get(row);
    if (kept?.generation !== generation) return undefined;
    const { refusal } = kept;
    if (!this.#stands(refusal, refusalNo(this.#table, row))) return undefined;
    const units = unlimitedUnits(this.#table, row);
    const limited = (cost: Cost) => byUnit((unit) => (units & BIT[unit] ? 0n : cost[unit]));
    const have = plus(balance(this.#table, row), refusal.lendable);
    const lacking = (cost: Cost) => atLeastZero(minus(limited(cost), have));
    const short = lacking(need);
    if (isNothing(short) || !coversCost(short, refusal.need)) return undefined;
    // Whoever may lower its output limit so far that it fits draws what there is.
    if (floor !== undefined && coversCost(refusal.available, lacking(floor))) return undefined;
    const part = least(plus(have, refusal.available), limited(need));
    return { outcome: "exhausted", left: plus(part, minus(need, limited(need))), refusal };
  }

  #stands(refusal: StandingRefusal | undefined, no: number): refusal is StandingRefusal {
    if (refusal === undefined || refusal.no !== no) return false;
    return this.#nowNs() < refusal.untilNs && refusal.returned === moneyReturned(this.#table);
  }
}

const BIT = { usdMicros: UNIT.usd, tokens: UNIT.tokens, calls: UNIT.calls } as const;
