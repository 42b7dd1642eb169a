import assert from "node:assert/strict";
import type { Cost } from "../decision/facts.ts";

/**
 * One account's money on this node: leases from the coordinator, and what of them lies in the table.
 *
 * B1. For each lease and unit: 0 <= spent <= lent <= amount.
 * B2. `lent` is stored before the table sees it, so after a crash what was lent counts as spent, but for
 *     what a whole log proves to have lain in the table.
 * B3. Each amount that was spent is charged once: to a lease, or to the account's debt. A lease's
 *     `spent` never falls.
 * B4. Nothing of a lease is lent after its deadline.
 * B5. `amount` only falls, to what was lent; that is stored before the ledger hears of it.
 *
 * The table keeps one balance for all leases, so which of them paid is decided here: what is spent
 * falls on leases that have not expired first, and what comes back belongs to expired ones first. A
 * lease that ended with its window therefore never pays for what was spent in the next one.
 *
 * The hold of open requests is not kept: it is what was lent, less what was spent, less the balance.
 */
export type Book = {
  /** Oldest first. */
  readonly leases: readonly Lease[];
  /** Spent beyond every hold and balance; the next lease pays it before anything else. */
  readonly debt: Cost;
  /** All that requests spent since this book was opened; for people, nothing is decided by it. */
  readonly spent: Cost;
};

export type Lease = {
  readonly id: string;
  /** The ledger's fencing epoch. */
  readonly epoch: number;
  readonly amount: Cost;
  /** Monotonic nanoseconds; the ledger counts on nothing being lent from it later. */
  readonly deadlineNs: bigint;
  /** Lent to the table and not taken back, what was spent included. */
  readonly lent: Cost;
  /** Charged to this lease. */
  readonly spent: Cost;
  /** What of `spent` was reported to the ledger while the lease went on. */
  readonly told: Cost;
};

/** What is due to the coordinator for one lease. */
export type LeaseSettlement = {
  readonly leaseId: string;
  readonly epoch: number;
  readonly spent: Cost;
  readonly final: boolean;
  /** The lease goes on, but beside `spent` nothing but this will be spent from it. */
  readonly keep?: Cost;
};

export const NOTHING: Cost = { usdMicros: 0n, tokens: 0n, calls: 0n };
export const EMPTY_BOOK: Book = { leases: [], debt: NOTHING, spent: NOTHING };

/** A lease as it is granted. */
export function newLease(
  of: Pick<Lease, "id" | "epoch" | "amount"> & { readonly deadlineNs: bigint },
): Lease {
  return { ...of, lent: NOTHING, spent: NOTHING, told: NOTHING };
}

export function addLease(book: Book, lease: Lease): Book {
  return { ...book, leases: [...book.leases, lease] };
}

/** What can still be lent from leases that have not expired. */
export function lendable({ leases }: Book, nowNs: bigint): Cost {
  return leases.reduce(
    (sum, lease) => (isLive(lease, nowNs) ? plus(sum, unlent(lease)) : sum),
    NOTHING,
  );
}

/** Lends `amount` to the table. The caller stores the result before the table sees the money. */
export function lendFrom(book: Book, amount: Cost, nowNs: bigint): Book {
  const { leases, rest } = spread(book.leases, {
    order: liveOnes(book, nowNs),
    amount,
    room: unlent,
    change: (lease, part) => ({ ...lease, lent: plus(lease.lent, part) }),
  });
  assert(isNothing(rest), "B1: lent beyond the leases");
  return { ...book, leases };
}

/**
 * Requests ended and spent this. Their holds are back in the table, less what they spent.
 *
 * @param uncovered What of it neither the holds nor the balance in the table could pay.
 */
export function spend(
  book: Book,
  { spent, uncovered }: { readonly spent: Cost; readonly uncovered: Cost },
  nowNs: bigint,
): Book {
  const { leases, rest } = charge(book, atLeastZero(minus(spent, uncovered)), nowNs);
  const debt = plus(book.debt, plus(uncovered, rest));
  return { leases, debt, spent: plus(book.spent, spent) };
}

/** The table gave back what lay unheld in it. */
export function takenBack(book: Book, amount: Cost, nowNs: bigint): Book {
  const { leases, rest } = spread(book.leases, {
    order: [...expiredOnes(book, nowNs), ...liveOnes(book, nowNs).reverse()],
    amount,
    room: open,
    change: (lease, part) => ({ ...lease, lent: minus(lease.lent, part) }),
  });
  // More than was out means that something counted as spent was not: it was debt, if anything.
  return { ...book, leases, debt: atLeastZero(minus(book.debt, rest)) };
}

/** Lets leases pay what was spent beyond earlier ones. */
export function payDebt(book: Book, nowNs: bigint): Book {
  const part = least(book.debt, lendable(book, nowNs));
  if (isNothing(part)) return book;
  const lent = lendFrom(book, part, nowNs);
  const { leases, rest } = charge(lent, part, nowNs);
  assert(isNothing(rest), "B3: a debt was paid with nothing");
  return { ...lent, leases, debt: minus(lent.debt, part) };
}

/**
 * Lets later leases stand for what requests still hold of expired ones, so that those can be closed
 * and what was never lent of them goes back to the ledger now, not when the last request ends.
 *
 * Live leases first; where they have no room, the holds of all expired ones are gathered in the last,
 * and only that one waits. Nothing is lent by this: the table keeps what it has.
 */
export function coverExpired(book: Book, nowNs: bigint): Book {
  let covered = book;
  for (const index of expiredOnes(book, nowNs)) {
    const lease = covered.leases[index] as Lease;
    const held = open(lease);
    if (isNothing(held)) continue;
    const leases = covered.leases.with(index, { ...lease, lent: lease.spent });
    const without = { ...covered, leases };
    if (coversCost(lendable(without, nowNs), held)) {
      covered = lendFrom(without, held, nowNs);
      continue;
    }
    const other = leases.findLastIndex((one, no) => no > index && coversCost(unlent(one), held));
    const heir = leases[other];
    if (heir === undefined) continue;
    covered = { ...covered, leases: leases.with(other, { ...heir, lent: plus(heir.lent, held) }) };
  }
  return covered;
}

/**
 * Closes every lease that is used up, or expired, or wanted back, and says what to settle.
 *
 * A lease is closed only when nothing of it is held or lies in the table.
 *
 * @param giveBack True to close leases that could still be lent from.
 */
export function closeLeases(
  book: Book,
  { nowNs, giveBack }: { readonly nowNs: bigint; readonly giveBack: boolean },
): { readonly book: Book; readonly settlements: readonly LeaseSettlement[] } {
  const isDone = (lease: Lease) =>
    isNothing(open(lease)) &&
    (giveBack || !isLive(lease, nowNs) || coversCost(lease.spent, lease.amount));
  const settlements = book.leases
    .filter(isDone)
    .map(({ id, epoch, spent }) => ({ leaseId: id, epoch, spent, final: true }));
  if (settlements.length === 0) return { book, settlements };
  return { book: { ...book, leases: book.leases.filter((one) => !isDone(one)) }, settlements };
}

/**
 * Cuts leases of which nothing more will be lent down to what was lent of them, and says so to the
 * ledger: while a request goes on in an expired lease, the account must not go without the rest of it.
 *
 * @param giveBack True to cut leases that could still be lent from.
 */
export function cutLeases(
  book: Book,
  { nowNs, giveBack }: { readonly nowNs: bigint; readonly giveBack: boolean },
): { readonly book: Book; readonly settlements: readonly LeaseSettlement[] } {
  const isCut = (lease: Lease) => (giveBack || !isLive(lease, nowNs)) && !isNothing(unlent(lease));
  const settlements = book.leases.filter(isCut).map((lease) => {
    const { id, epoch, spent } = lease;
    return { leaseId: id, epoch, spent, keep: open(lease), final: false };
  });
  if (settlements.length === 0) return { book, settlements };
  const leases = book.leases.map((lease) =>
    isCut(lease) ? { ...lease, amount: lease.lent, told: lease.spent } : lease,
  );
  return { book: { ...book, leases }, settlements };
}

/** What leases that go on have paid for since they were last reported. */
export function interimSettlements(book: Book): {
  readonly book: Book;
  readonly settlements: readonly LeaseSettlement[];
} {
  const news = book.leases.filter(({ spent, told }) => !isNothing(minus(spent, told)));
  if (news.length === 0) return { book, settlements: [] };
  const leases = book.leases.map((lease) => ({ ...lease, told: lease.spent }));
  const settlements = news.map(({ id, epoch, spent }) => ({
    leaseId: id,
    epoch,
    spent,
    final: false,
  }));
  return { book: { ...book, leases }, settlements };
}

/**
 * What of a balance is money of leases that go on, and how much of each of them it can be at most. As much
 * of it as leases that have ended still have out may be theirs, so that is left out.
 */
export function unheldIn(
  book: Book,
  balance: Cost,
  nowNs: bigint,
): { readonly unheld: Cost; readonly open: readonly Cost[] } {
  const ended = expiredOnes(book, nowNs).map((index) => open(book.leases[index] as Lease));
  return {
    unheld: atLeastZero(minus(balance, ended.reduce(plus, NOTHING))),
    open: book.leases.map((lease) => (isLive(lease, nowNs) ? open(lease) : NOTHING)),
  };
}

/**
 * After a crash the table is gone: what was lent to it counts as spent, and every lease is closed.
 *
 * @param proven What lay unheld in the table for certain; `open` as `unheldIn` told it. It goes back.
 * @returns The debt that the leases could not pay stays.
 */
export function settleAfterCrash(
  book: Book,
  proven: { readonly unheld: Cost; readonly open: readonly Cost[] } = { unheld: NOTHING, open: [] },
): {
  readonly settlements: readonly LeaseSettlement[];
  readonly debt: Cost;
} {
  const lent = book.leases.map((lease) => ({ ...lease, spent: lease.lent }));
  // As the table's money comes back: that of the newest lease first.
  const { leases: spent } = spread(lent, {
    order: lent.map((_, index) => index).reverse(),
    amount: proven.unheld,
    room: (lease, index) => least(lease.spent, proven.open[index] ?? NOTHING),
    change: (lease, part) => ({ ...lease, spent: minus(lease.spent, part) }),
  });
  const { leases, rest } = spread(spent, {
    order: spent.map((_, index) => index),
    amount: book.debt,
    room: unlent,
    change: (lease, part) => ({ ...lease, spent: plus(lease.spent, part) }),
  });
  const settlements = leases.map((lease) => {
    const { id, epoch } = lease;
    return { leaseId: id, epoch, spent: lease.spent, final: true };
  });
  return { settlements, debt: rest };
}

/** The first deadline still to come, monotonic nanoseconds. */
export function nextDeadlineNs({ leases }: Book, nowNs: bigint): bigint | undefined {
  return leases
    .filter((lease) => isLive(lease, nowNs))
    .map(({ deadlineNs }) => deadlineNs)
    .reduce<bigint | undefined>((a, b) => (a === undefined || b < a ? b : a), undefined);
}

export function hasExpired({ leases }: Book, nowNs: bigint): boolean {
  return leases.some((lease) => !isLive(lease, nowNs));
}

export function plus(a: Cost, b: Cost): Cost {
  return byUnit((unit) => a[unit] + b[unit]);
}

export function minus(a: Cost, b: Cost): Cost {
  return byUnit((unit) => a[unit] - b[unit]);
}

/** The larger of each unit and zero. */
export function atLeastZero(a: Cost): Cost {
  return largest(a, NOTHING);
}

export function least(a: Cost, b: Cost): Cost {
  return byUnit((unit) => (a[unit] < b[unit] ? a[unit] : b[unit]));
}

export function largest(a: Cost, b: Cost): Cost {
  return byUnit((unit) => (a[unit] > b[unit] ? a[unit] : b[unit]));
}

/** True when `a` is at least `b` in every unit. */
export function coversCost(a: Cost, b: Cost): boolean {
  return a.usdMicros >= b.usdMicros && a.tokens >= b.tokens && a.calls >= b.calls;
}

export function isNothing({ usdMicros, tokens, calls }: Cost): boolean {
  return usdMicros === 0n && tokens === 0n && calls === 0n;
}

export function byUnit(amountOf: (unit: keyof Cost) => bigint): Cost {
  return {
    usdMicros: amountOf("usdMicros"),
    tokens: amountOf("tokens"),
    calls: amountOf("calls"),
  };
}

function isLive({ deadlineNs }: Lease, nowNs: bigint): boolean {
  return nowNs < deadlineNs;
}

/** Lent and neither spent nor back: held by requests, or lying in the table. */
function open({ lent, spent }: Lease): Cost {
  return minus(lent, spent);
}

function unlent({ amount, lent }: Lease): Cost {
  return minus(amount, lent);
}

function liveOnes({ leases }: Book, nowNs: bigint): number[] {
  return leases.flatMap((lease, index) => (isLive(lease, nowNs) ? [index] : []));
}

function expiredOnes({ leases }: Book, nowNs: bigint): number[] {
  return leases.flatMap((lease, index) => (isLive(lease, nowNs) ? [] : [index]));
}

function charge(book: Book, amount: Cost, nowNs: bigint) {
  return spread(book.leases, {
    order: [...liveOnes(book, nowNs), ...expiredOnes(book, nowNs)],
    amount,
    room: open,
    change: (lease, part) => ({ ...lease, spent: plus(lease.spent, part) }),
  });
}

/** Spreads an amount over leases, each taking what it has room for; `rest` found no room. */
function spread(
  leases: readonly Lease[],
  how: {
    /** Indexes, first served first. */
    readonly order: readonly number[];
    readonly amount: Cost;
    readonly room: (lease: Lease, index: number) => Cost;
    readonly change: (lease: Lease, part: Cost) => Lease;
  },
): { readonly leases: readonly Lease[]; readonly rest: Cost } {
  const changed = [...leases];
  let rest = how.amount;
  for (const index of how.order) {
    const lease = changed[index] as Lease;
    const part = least(rest, how.room(lease, index));
    changed[index] = how.change(lease, part);
    rest = minus(rest, part);
  }
  return { leases: changed, rest };
}
