import type { Store, Write } from "../../ports/store.ts";
import { type LeaseSettlement, plus } from "./account-book.ts";
import { decodeSettlement, encodeSettlement } from "./agent-record.ts";
import type { LedgerPort } from "./ledger-port.ts";

const PREFIX = "settle/";
/** Settlements under way at once: a thousand agents that went idle in one second are a few signed messages. */
const AT_ONCE_MAX = 128;

export type SettlementOutboxDeps = {
  readonly store: Store;
  readonly ledger: LedgerPort;
  readonly onFault: (error: unknown) => void;
  /** Told of each change of `returned`, before anybody can act on it. */
  readonly onReturned: (count: number) => void;
};

/** Whether the ledger must hear of it, or money stays charged that nobody can spend. */
export function isOwed({ final, keep }: LeaseSettlement): boolean {
  return final || keep !== undefined;
}

/**
 * The entry that keeps a settlement until the ledger has it. Each has a key of its own: what a lease
 * still holds only falls, so no two that cut it down have the same sum.
 */
export function outboxWrite(settlement: LeaseSettlement): Write {
  const { leaseId, spent, keep } = settlement;
  const rest = keep && plus(spent, keep);
  const cut = rest === undefined ? "" : `/${rest.usdMicros}-${rest.tokens}-${rest.calls}`;
  return { key: PREFIX + leaseId + cut, value: encodeSettlement(settlement) };
}

/**
 * Settlements that the ledger must hear of, on their way to the ledger. They are on disk before they are sent, and until
 * they are known to have arrived: what is not settled stays charged in full.
 */
export class SettlementOutbox {
  readonly #deps: SettlementOutboxDeps;
  #sending: Promise<void> | undefined;
  #hasMore = false;
  #returned = 0;

  constructor(deps: SettlementOutboxDeps) {
    this.#deps = deps;
  }

  /** Settlements that the ledger has taken since the start. */
  get returned(): number {
    return this.#returned;
  }

  /** Resolves once nothing is on its way; undefined when nothing is. */
  get sending(): Promise<void> | undefined {
    return this.#sending;
  }

  /** Sends what there is, once at a time; stops at the first that does not arrive. Never rejects. */
  send(): Promise<void> {
    this.#hasMore = true;
    this.#sending ??= this.#sendAll()
      .catch(this.#deps.onFault)
      .finally(() => {
        this.#sending = undefined;
      });
    return this.#sending;
  }

  async #sendAll(): Promise<void> {
    // What was written after the last look has set the mark again.
    while (this.#hasMore) {
      this.#hasMore = false;
      let after: string | undefined = PREFIX;
      while (after !== undefined) after = await this.#sendSome(after);
    }
  }

  /** Where to go on; undefined at the end, or when the ledger does not answer. */
  async #sendSome(after: string): Promise<string | undefined> {
    const { store, ledger } = this.#deps;
    const entries = store.list(PREFIX, { after, limit: AT_ONCE_MAX });
    const arrived = await Promise.all(
      entries.map(([key, bytes]) => this.#sendOne(key, bytes, ledger)),
    );
    const gone = entries.filter((_, index) => arrived[index]).map(([key]) => key);
    this.#returned += gone.length;
    if (gone.length > 0) this.#deps.onReturned(this.#returned);
    if (gone.length > 0) await store.commit(gone.map((key) => ({ key, value: undefined })));
    if (gone.length < entries.length) return undefined;
    return entries.at(-1)?.[0];
  }

  async #sendOne(key: string, bytes: Uint8Array, ledger: LedgerPort): Promise<boolean> {
    try {
      return await ledger.settle(decodeSettlement(bytes));
    } catch (error) {
      this.#deps.onFault(new Error(`settlement ${key} was not sent`, { cause: error }));
      return false;
    }
  }
}
