import type { Store, Write } from "../../ports/store.ts";
import {
  atLeastZero,
  isNothing,
  minus,
  NOTHING,
  plus,
  settleAfterCrash,
  unheldIn,
} from "./account-book.ts";
import type { ActorHostDeps } from "./actor-host-deps.ts";
import {
  decodeBook,
  decodeLadder,
  decodeTableMark,
  encodeBook,
  encodeLadder,
} from "./agent-record.ts";
import { type AgentState, newAgent, type StepResult } from "./agent-state.ts";
import type { Seat } from "./seat.ts";
import { isOwed, outboxWrite } from "./settlement-outbox.ts";
import type { LogMark, TableMark } from "./table-mark.ts";

// What the node's store holds of its accounts: a book while there is something to remember of its
// money, a ladder while the agent stands anywhere but at the bottom.

const BOOKS = "book/";
const BOOKS_AT_ONCE = 1_000;

function bookKey(account: string): string {
  return BOOKS + account;
}

function ladderKey(account: string): string {
  return `ladder/${account}`;
}

/** What one turn has to leave in the store. */
export function writesOf(
  seat: Pick<Seat, "account" | "state" | "till">,
  result: StepResult,
  deps: Pick<ActorHostDeps, "clock" | "logMark">,
): Write[] {
  const { account, state: before } = seat;
  const { book, ladder } = result.state;
  const isEmpty = book.leases.length === 0 && isNothing(book.debt);
  const writes: Write[] = [
    {
      key: bookKey(account),
      value: isEmpty ? undefined : encodeBook(book, tableMark(seat, result, deps)),
    },
  ];
  if (ladder !== before.ladder) {
    const isNothing = ladder.standing === "normal" && ladder.scores.length === 0;
    const isKept = !isNothing || ladder.killFor !== undefined;
    writes.push({ key: ladderKey(account), value: isKept ? encodeLadder(ladder) : undefined });
  }
  for (const effect of result.effects) {
    if (effect.t === "settle" && isOwed(effect.settlement)) {
      writes.push(outboxWrite(effect.settlement));
    }
  }
  return writes;
}

/**
 * The logs' ends are looked at before the balance: what is let through in between lowers it and is behind
 * the mark as well, so it counts twice and never not at all. What this turn lends counts as lying there:
 * nobody has it before this is stored.
 */
function tableMark(
  { till }: Pick<Seat, "till">,
  { state: { book }, effects }: StepResult,
  { clock, logMark }: Pick<ActorHostDeps, "clock" | "logMark">,
): TableMark | undefined {
  const ends = logMark?.();
  if (ends === undefined || book.leases.length === 0) return undefined;
  let balance = till.balance();
  for (const effect of effects) if (effect.t === "lend") balance = plus(balance, effect.amount);
  return { ...ends, ...unheldIn(book, balance, clock.monoNs()) };
}

/** Marks of that run's books, by account: of those from which something may come back. */
export function marksOf(store: Store, run: string): ReadonlyMap<string, LogMark["ends"]> {
  const marks = new Map<string, LogMark["ends"]>();
  for (const [key, bytes] of allBooks(store)) {
    const mark = read(
      () => decodeTableMark(bytes),
      () => undefined,
    );
    if (mark?.run !== run || isNothing(mark.unheld)) continue;
    marks.set(key.slice(BOOKS.length), mark.ends);
  }
  return marks;
}

/** An actor as the store knows it; undefined when what is stored cannot be read. */
export function readStored(
  store: Store,
  account: string,
  { nowMs, onFault }: { readonly nowMs: number; readonly onFault: (error: unknown) => void },
): AgentState | undefined {
  return read(() => {
    const ladder = store.get(ladderKey(account));
    const book = store.get(bookKey(account));
    const fresh = newAgent(nowMs, book === undefined ? NOTHING : decodeBook(book).debt);
    return ladder === undefined ? fresh : { ...fresh, ladder: decodeLadder(ladder) };
  }, onFault);
}

/**
 * Settles every book of an earlier run: what was lent to its table is spent, the rest goes back. Where that
 * run's log is whole, what it shows to have lain in the table goes back as well.
 *
 * A book that cannot be read stays as it is: its account is not served, and its leases stay charged.
 */
export async function recoverBooks({
  store,
  onFault,
  crashProof,
}: Pick<ActorHostDeps, "store" | "onFault" | "crashProof">): Promise<void> {
  for (const [key, bytes] of allBooks(store)) {
    const book = read(() => decodeBook(bytes), onFault);
    if (book === undefined || book.leases.length === 0) continue;
    const mark = read(() => decodeTableMark(bytes), onFault);
    const used = crashProof?.used.get(key.slice(BOOKS.length));
    const isProven = mark !== undefined && used !== undefined && mark.run === crashProof?.run;
    const { settlements, debt } = settleAfterCrash(
      book,
      isProven ? { ...mark, unheld: atLeastZero(minus(mark.unheld, used)) } : undefined,
    );
    const value = isNothing(debt) ? undefined : encodeBook({ ...book, leases: [], debt });
    await store.commit([...settlements.map(outboxWrite), { key, value }]);
  }
}

/** Some at a time: a node may know a million accounts, and most of their books ask for nothing. */
function* allBooks(store: Store): Generator<readonly [key: string, bytes: Uint8Array]> {
  for (let after: string | undefined; ; ) {
    const page = store.list(BOOKS, { limit: BOOKS_AT_ONCE, ...(after !== undefined && { after }) });
    yield* page;
    if (page.length < BOOKS_AT_ONCE) return;
    after = page.at(-1)?.[0];
  }
}

function read<T>(decode: () => T, onFault: (error: unknown) => void): T | undefined {
  try {
    return decode();
  } catch (error) {
    onFault(error);
    return undefined;
  }
}
