import { createHash } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import {
  CONTRACT_PREFIX,
  type ContractAccount,
  readContractAccount,
} from "../../coordinator/contract-account.ts";
import type { LedgerUnit } from "../../coordinator/ledger-window.ts";
import type { Write } from "../../ports/store.ts";
import { JournalRecordSchema } from "../../proto/gen/altrace/v1/journal_pb.ts";
import { SealedSchema } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import type { JournalLease, SimEvent } from "./sim-event.ts";

const LEASE_PREFIX = "ledger/lease/";
const ROWS_PREFIX = "ledger/rows/contract/";
const PREFIXES = [LEASE_PREFIX, CONTRACT_PREFIX, ROWS_PREFIX];
const PLACE_KEY = "journal/place";

type Entry = { readonly key: string; readonly value?: Uint8Array | undefined };

/** A link as it was stored, and what the entries that it changed were before. */
type Link = {
  readonly n: bigint;
  readonly hash: string;
  readonly bytes: Uint8Array;
  readonly before: Entry[];
};

/** Of a contract's account, where its grant went. */
export type JournalRow = {
  readonly reserved: number;
  readonly spent: number;
  readonly children: number;
};

/** What is stored of an account's rows: reserved, spent and children by unit and window. */
type StoredRows = { readonly [name: string]: readonly [number, number, number] };

/**
 * The ledger's leases and contracts as they are where it lies, whatever any coordinator's memory says: on
 * the disk of the one coordinator, or in the stream in which several write it.
 *
 * A link counts from when the stream has it. Where the stream loses it before any coordinator's disk has
 * it, nobody was told of it (J2), and the link that takes its number undoes it; that is told as well.
 */
export class LeaseJournal {
  readonly leases = new Map<string, JournalLease>();
  readonly contracts = new Map<string, ContractAccount>();
  readonly #rows = new Map<string, StoredRows>();
  readonly #values = new Map<string, Uint8Array>();
  readonly #tell: (event: SimEvent) => void;
  readonly #isStored: (bytes: Uint8Array) => boolean;
  /** Links that were taken in: a message may come twice. */
  readonly #known = new Set<string>();
  /** Hashes of links up to which a coordinator's disk has, or had, the ledger. */
  readonly #copied = new Set<string>();
  readonly #chain: Link[] = [];
  #parts: Entry[] = [];

  /** @param isStored Whether the stream holds this link now. */
  constructor(tell: (event: SimEvent) => void, isStored: (bytes: Uint8Array) => boolean) {
    this.#tell = tell;
    this.#isStored = isStored;
  }

  /** Where a contract's grant of one unit went. */
  row(contractId: string, unit: LedgerUnit): JournalRow {
    const stored = this.#rows.get(contractId)?.[`${unit}|total`] ?? [0, 0, 0];
    const [reserved, spent, children] = stored;
    return { reserved, spent, children };
  }

  /** A contract and those above it, as far as they have accounts. */
  chainOf(contractId: string | undefined): readonly ContractAccount[] {
    const chain: ContractAccount[] = [];
    for (let id = contractId; id !== undefined && id !== ""; id = chain.at(-1)?.parent) {
      const account = this.contracts.get(id);
      if (account === undefined) break;
      chain.push(account);
    }
    return chain;
  }

  /** Called with each commit, once it is on the disk. */
  persisted(writes: readonly Write[]): void {
    if (!writes.some(({ key }) => isWatched(key))) return;
    for (const write of writes) this.#take(write, []);
    this.#tell({ t: "written" });
  }

  /** Called with each commit of a coordinator whose ledger is a chain, once it is on the disk. */
  copied(writes: readonly Write[]): void {
    const place = writes.find(({ key }) => key === PLACE_KEY)?.value;
    if (place !== undefined) this.#copied.add(JSON.parse(Buffer.from(place).toString()).hash);
  }

  /** Called with each link, once it is in the stream. */
  linked(bytes: Uint8Array): void {
    const hash = createHash("sha256").update(bytes).digest("hex");
    if (this.#known.has(hash)) return;
    this.#known.add(hash);
    const { n, body } = fromBinary(JournalRecordSchema, fromBinary(SealedSchema, bytes).payload);
    this.#undoFrom(n);
    const link: Link = { n, hash, bytes, before: [] };
    this.#chain.push(link);
    if (body.case === "changes")
      for (const entry of body.value.entries) this.#take(entry, link.before);
    if (body.case === "part") {
      const { no, count, entries } = body.value;
      this.#parts = no === 0 ? [...entries] : [...this.#parts, ...entries];
      if (no === count - 1) this.#replace(this.#parts, link.before);
    }
    this.#tell({ t: "written" });
  }

  /** Takes back the links that others have taken the numbers of, the newest first. */
  #undoFrom(n: bigint): void {
    for (let last = this.#chain.at(-1); last && last.n >= n; last = this.#chain.at(-1)) {
      this.#chain.pop();
      const leases = new Set<string>();
      for (const { key } of last.before) {
        if (key.startsWith(LEASE_PREFIX)) leases.add(key.slice(LEASE_PREFIX.length));
      }
      for (const { key, value } of last.before.toReversed()) this.#put(key, value);
      const isKept = this.#copied.has(last.hash) || this.#isStored(last.bytes);
      this.#tell({ t: "undone", n: Number(last.n), isKept, leases: [...leases] });
    }
  }

  /** A snapshot is all that there is: what it does not have was never granted to anybody. */
  #replace(entries: readonly Entry[], changed: Link["before"]): void {
    const keys = new Set(entries.map(({ key }) => key));
    for (const [key, value] of this.#values) {
      if (keys.has(key)) continue;
      changed.push({ key, value });
      this.#put(key, undefined);
    }
    for (const entry of entries) this.#take(entry, changed);
  }

  #take({ key, value }: Entry, changed: Link["before"]): void {
    if (!isWatched(key)) return;
    const before = this.#values.get(key);
    if (before !== undefined && value !== undefined && Buffer.compare(before, value) === 0) return;
    changed.push({ key, value: before });
    const [lease, contract] = [this.leases.get(idIn(key)), this.contracts.get(idIn(key))];
    this.#put(key, value);
    if (value === undefined) return;
    if (key.startsWith(LEASE_PREFIX)) {
      const after = this.leases.get(idIn(key)) as JournalLease;
      this.#tell({ t: "lease", before: lease, after });
    } else if (key.startsWith(CONTRACT_PREFIX)) {
      const after = this.contracts.get(idIn(key)) as ContractAccount;
      this.#tell({ t: "contract", before: contract, after });
    }
  }

  #put(key: string, value: Uint8Array | undefined): void {
    if (value === undefined) this.#values.delete(key);
    else this.#values.set(key, value);
    const read = value && JSON.parse(Buffer.from(value).toString());
    if (key.startsWith(LEASE_PREFIX))
      put(this.leases, idIn(key), read && { ...read, id: idIn(key) });
    else if (key.startsWith(ROWS_PREFIX)) put(this.#rows, idIn(key), read);
    else put(this.contracts, idIn(key), read && readContractAccount(read));
  }
}

function isWatched(key: string): boolean {
  return PREFIXES.some((prefix) => key.startsWith(prefix));
}

function idIn(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1);
}

function put<T>(into: Map<string, T>, key: string, value: T | undefined): void {
  if (value === undefined) into.delete(key);
  else into.set(key, value);
}
