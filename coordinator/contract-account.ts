import { type Bucket, RATE_METRICS, type Rate } from "../authority/rate.ts";
import type { Store } from "../ports/store.ts";
import { LEDGER_UNITS, type LedgerAmounts } from "./ledger-window.ts";

/** What the ledger keeps of a contract: whose it is, what it may spend, and where that went. */
export type ContractAccount = {
  readonly id: string;
  /** Id of the contract it was delegated from; empty for a root. */
  readonly parent: string;
  /** `team/agent` of the holder: its own and its team's limits bound what is lent here too. */
  readonly agent: string;
  /** The one node that may borrow for it: it holds the contract's key, or was named to serve it. */
  readonly node: string;
  readonly depth: number;
  /** SHA-256 of the virtual key that it was born with, hexadecimal; empty where there is none. */
  readonly keySha256: string;
  /** Tokens, root first. */
  readonly chain: string;
  readonly limit: LedgerAmounts;
  readonly rate: Rate;
  /** Ms since the Unix epoch. */
  readonly expiresMs: number;
  /**
   * `open`: may borrow and delegate. `revoked` and `ended`: neither, and what it holds is still out.
   * `released`: what it did not spend is back with its parent.
   */
  readonly state: ContractState;
};

export const CONTRACT_STATES = ["open", "revoked", "ended", "released"] as const;
export type ContractState = (typeof CONTRACT_STATES)[number];

/** Its key in the ledger's store follows. */
export const CONTRACT_PREFIX = "ledger/contract/";

/** A contract that a ledger's store knows; `undefined` for any other. */
export function storedContract(store: Pick<Store, "get">, id: string): ContractAccount | undefined {
  const value = store.get(CONTRACT_PREFIX + id);
  return value && readContractAccount(JSON.parse(Buffer.from(value).toString()));
}

/** The account's name in the ledger. */
export function contractAccountName(id: string): string {
  return `contract/${id}`;
}

const NAMES = [
  "id",
  "parent",
  "agent",
  "node",
  "depth",
  "keySha256",
  "chain",
  "limit",
  "rate",
  "expiresMs",
  "state",
] as const;

/** @throws TypeError It is not what the ledger writes. */
export function readContractAccount(value: unknown): ContractAccount {
  const stored = members(value, NAMES);
  const limit = members(stored.limit, LEDGER_UNITS);
  const rate = members(stored.rate, RATE_METRICS);
  const state = CONTRACT_STATES.find((each) => each === stored.state);
  if (state === undefined) throw new TypeError("state");
  return {
    id: text(stored.id),
    parent: text(stored.parent),
    agent: text(stored.agent),
    node: text(stored.node),
    depth: count(stored.depth),
    keySha256: text(stored.keySha256),
    chain: text(stored.chain),
    limit: {
      usd_micros: count(limit.usd_micros),
      tokens: count(limit.tokens),
      calls: count(limit.calls),
    },
    rate: { req: bucket(rate.req), tok: bucket(rate.tok), usd_u: bucket(rate.usd_u) },
    expiresMs: count(stored.expiresMs),
    state,
  };
}

function bucket(value: unknown): Bucket {
  const stored = members(value, ["burst", "amount", "seconds"]);
  const read = {
    burst: count(stored.burst),
    amount: count(stored.amount),
    seconds: count(stored.seconds),
  };
  if (read.seconds === 0) throw new TypeError("seconds");
  return read;
}

function members<N extends string>(value: unknown, names: readonly N[]): Record<N, unknown> {
  if (typeof value !== "object" || value === null) throw new TypeError("not an object");
  const found = Object.keys(value).sort().join();
  if (found !== [...names].sort().join()) throw new TypeError(`members ${found}`);
  return value as Record<N, unknown>;
}

function count(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new TypeError("not a count");
  return value as number;
}

function text(value: unknown): string {
  if (typeof value !== "string") throw new TypeError("not a text");
  return value;
}
