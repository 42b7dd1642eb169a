import type { Store, Write } from "../../ports/store.ts";
import { isNothing, NOTHING, settleAfterCrash } from "./account-book.ts";
import { decodeBook, decodeLadder, encodeBook, encodeLadder } from "./agent-record.ts";
import { type AgentState, newAgent, type StepResult } from "./agent-state.ts";
import { isOwed, outboxWrite } from "./settlement-outbox.ts";

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
  account: string,
  before: AgentState,
  { state: { book, ladder }, effects }: StepResult,
): Write[] {
  const isEmpty = book.leases.length === 0 && isNothing(book.debt);
  const writes: Write[] = [
    { key: bookKey(account), value: isEmpty ? undefined : encodeBook(book) },
  ];
  if (ladder !== before.ladder) {
    const isNothing = ladder.standing === "normal" && ladder.scores.length === 0;
    const isKept = !isNothing || ladder.killFor !== undefined;
    writes.push({ key: ladderKey(account), value: isKept ? encodeLadder(ladder) : undefined });
  }
  for (const effect of effects) {
    if (effect.t === "settle" && isOwed(effect.settlement)) {
      writes.push(outboxWrite(effect.settlement));
    }
  }
  return writes;
}

/** An actor as the store knows it; undefined when what is stored cannot be read. */
export function readStored(
  store: Store,
  account: string,
  { nowMs, onFault }: { readonly nowMs: number; readonly onFault: (error: unknown) => void },
): AgentState | undefined {
  const ladder = store.get(ladderKey(account));
  const book = store.get(bookKey(account));
  return read(() => {
    const fresh = newAgent(nowMs, book === undefined ? NOTHING : decodeBook(book).debt);
    return ladder === undefined ? fresh : { ...fresh, ladder: decodeLadder(ladder) };
  }, onFault);
}

/**
 * Settles every book of an earlier run: what was lent to its table is spent, the rest goes back.
 *
 * A book that cannot be read stays as it is: its account is not served, and its leases stay charged.
 */
export async function recoverBooks({
  store,
  onFault,
}: {
  readonly store: Store;
  readonly onFault: (error: unknown) => void;
}): Promise<void> {
  for (const [key, bytes] of allBooks(store)) {
    const book = read(() => decodeBook(bytes), onFault);
    if (book === undefined || book.leases.length === 0) continue;
    const { settlements, debt } = settleAfterCrash(book);
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
