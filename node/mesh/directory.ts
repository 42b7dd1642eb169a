import assert from "node:assert/strict";
import { killScopesOf } from "../../authority/kill-scopes.ts";
import type { Rate } from "../../authority/rate.ts";
import type { VerifiedChain } from "../../authority/verify-chain.ts";
import type { MeshRecord } from "../../mesh/record.ts";
import { parseAgentId } from "../../proto/ids.ts";
import type { Reason } from "../../proto/reasons.ts";
import { bucketArrivals, setBucketArrivals } from "../table/bucket-arrivals.ts";
import { emptyBuckets } from "../table/empty-buckets.ts";
import { refitBuckets } from "../table/refit-buckets.ts";
import { createRowOwner, type RowCells, type RowOwner, type RowRef } from "../table/rows.ts";
import { NO_CELL } from "../table/scope-cells.ts";
import { bumpKeyGeneration, keyGeneration, setTrustVersion, type Table } from "../table/table.ts";
import { agentOfHandle, type ContractGrant, type RowGrant } from "../thread-messages.ts";
import type { ServedContract } from "./contract-desk.ts";
import { KeyRing, type VirtualKey } from "./key-ring.ts";
import { LeftBuckets } from "./left-buckets.ts";
import { LookupLimit } from "./lookup-limit.ts";
import { ScopeCellMap } from "./scope-cell-map.ts";

// Who has which row, and under which scope cells it stands.
//
// D1. A row's scope cells say what merged state says before anybody is told of the row.
// D2. A scope cell stays with its scope while any row under it can still be read.
// D3. Answers carry the key generation they were made under; a change of keys makes a new one.
// D4. Where the rate of a contract changes, its buckets hold no more right after than right before: what is
//     moved to a child and back again fills no bucket in between.
// D5. A contract's cell says killed while anything is killed that its authority comes from: the contract, one
//     above it, or an agent that delegated in its chain. Such an agent may well have the worker's key.

export type Resolved =
  | { readonly grant: RowGrant; readonly isNewRow: boolean }
  | { readonly refused: Reason };

/** A row that nobody uses any more, for the owner of its money. */
export type FreedRow = RowRef & {
  readonly agentId: string;
  readonly contractId: string | undefined;
};

export type DirectoryDeps = {
  readonly table: Table;
  /** Whether merged state has the scope killed. */
  readonly killed: (scope: string) => boolean;
};

type Holder = RowRef & {
  readonly agentId: string;
  readonly contractId: string | undefined;
  readonly scopes: readonly string[];
  /** Where its authority comes from (D5); none where there is no contract. */
  sources: readonly string[];
  /** Of a contract whose chain was seen: what its buckets are filled by. */
  rate?: Rate;
  /** The contract's id, if it is a root whose chain was seen. */
  rootId?: string | undefined;
};

const CONTRACT = "contract/";
/** As much of a contract's id as stands for its key in the log. */
const KEY_ID_CHARS = 16;

/** A contract below a scope: all that may kill it, and how many rows serve it. */
type Standing = { readonly sources: readonly string[]; rows: number };

type Leaving = { readonly holder: Holder; told: boolean };

export class Directory {
  readonly #table: Table;
  readonly #killed: (scope: string) => boolean;
  readonly #rows: RowOwner;
  readonly #cells: ScopeCellMap;
  readonly #keys = new KeyRing();
  readonly #limit = new LookupLimit();
  /** By agent, then by contract or "". */
  readonly #holders = new Map<string, Map<string, Holder>>();
  readonly #left = new LeftBuckets();
  readonly #leaving = new Set<Leaving>();
  /** By scope, the scopes of the contracts whose authority comes from it, while a row serves them. */
  readonly #under = new Map<string, Map<string, Standing>>();
  /** Those of them that were revoked and have ended since. */
  readonly #ended = new Set<string>();

  constructor({ table, killed }: DirectoryDeps) {
    this.#table = table;
    this.#killed = killed;
    this.#rows = createRowOwner(table);
    this.#cells = new ScopeCellMap(table);
  }

  /** Stores a kill or a revive in the scope's cells; false when no row of this node is under it. */
  store(scope: string, killed: boolean): boolean {
    let isUnder = isContract(scope) ? false : this.#cells.store(scope, killed);
    // A contract's row has one cell, for itself: what kills it from above is stored there too.
    for (const [contract, { sources }] of this.#under.get(scope) ?? []) {
      const isKilled = killed || this.#anyKilled(sources);
      isUnder = this.#cells.store(contract, isKilled) || isUnder;
    }
    return isUnder;
  }

  /** The revocation of an ended contract is forgotten: what it keeps closed here stays so, for as long as a row is under it. */
  ended(scope: string): void {
    if (this.#under.has(scope)) this.#ended.add(scope);
  }

  /** Ids of the contracts that a kill of this scope covers (D5); among them the one that it is. */
  contractsUnder(scope: string): readonly string[] {
    return Array.from(this.#under.get(scope)?.keys() ?? [], (one) => one.slice(CONTRACT.length));
  }

  /** Takes in the current record of a key, and makes answers about keys void. */
  learnKey(record: MeshRecord): void {
    this.#keys.learn(record);
    bumpKeyGeneration(this.#table);
  }

  /** Makes answers about keys void because trust changed, and says which bundle is in force. */
  trustChanged(version: number): void {
    setTrustVersion(this.#table, version);
    bumpKeyGeneration(this.#table);
  }

  /**
   * The row that serves a key.
   *
   * @param keySha256 SHA-256 of the whole key, hexadecimal; or an agent's handle.
   * @param source Where the request came from; only answers that find no key count against it.
   * @param nowNs Monotonic clock.
   */
  resolve(keySha256: string, source: string, nowNs: bigint): Resolved {
    const agentId = agentOfHandle(keySha256);
    const key = agentId === undefined ? this.#keys.find(keySha256) : this.#keys.findOf(agentId);
    if (typeof key === "string") {
      return { refused: this.#limit.admit(source, nowNs) ? key : "lookups_exhausted" };
    }
    const { contractId } = key;
    const current = this.#holders.get(key.agentId)?.get(contractId ?? "");
    const sources = contractId === undefined ? [] : [`${CONTRACT}${contractId}`];
    const holder = current ?? this.#seat(key, sources);
    if (!holder) return { refused: "table_full" };
    return { grant: this.#grant(key, holder), isNewRow: holder !== current };
  }

  /**
   * The row that serves a contract, by its verified chain.
   *
   * @param nowNs Monotonic clock.
   */
  resolveContract(served: ServedContract, nowNs: bigint): Resolved {
    const { verified, keySha256, rate, freshUntilNs } = served;
    const { leaf, links, effective } = verified;
    const { claims } = leaf;
    const key: VirtualKey = {
      keyId: leaf.id.slice(0, KEY_ID_CHARS),
      sha256: keySha256,
      agentId: claims.agent,
      contractId: leaf.id,
      // Its dates are judged with the rest of the contract.
      notBeforeMs: 0,
      notAfterMs: 0,
    };
    const current = this.#holders.get(key.agentId)?.get(leaf.id);
    const holder = current ?? this.#seat(key, sourcesOf(verified));
    if (!holder) return { refused: "table_full" };
    if (holder.rate === undefined) {
      this.#learnSources(holder, sourcesOf(verified));
      this.#begin(holder, { rate, rootId: links.length === 1 ? leaf.id : undefined }, nowNs);
    } else this.#refit(holder, holder.rate, { rate, nowNs });
    const contract: ContractGrant = {
      ids: links.map(({ id }) => id),
      holders: links.map((link) => link.claims.agent),
      person: claims.subject,
      effective,
      rate,
      source: claims.bearer.source,
      freshUntilNs,
      depthLeft: claims.depthMax - claims.depth,
      ...(claims.bearer.sha256 === "" && { holder: claims.holder }),
    };
    return { grant: { ...this.#grant(key, holder), contract }, isNewRow: holder !== current };
  }

  /**
   * Takes in at once that a contract's own requests may use less than before, or more (D4).
   *
   * @param nowNs Monotonic clock.
   */
  rateChanged({ verified, rate }: ServedContract, nowNs: bigint): void {
    const { id, claims } = verified.leaf;
    const holder = this.#holders.get(claims.agent)?.get(id);
    if (holder?.rate !== undefined) this.#refit(holder, holder.rate, { rate, nowNs });
  }

  /** A look-up that finds nothing counts against its source; false when it has none left. */
  admit(source: string, nowNs: bigint): boolean {
    return this.#limit.admit(source, nowNs);
  }

  /** Gives up the agent's rows. Each comes out of `sweep` once its last request has ended. */
  free(agentId: string): void {
    for (const holder of this.#holders.get(agentId)?.values() ?? []) {
      this.#rows.retire(holder.row);
      this.#keepBuckets(holder);
      this.#leaving.add({ holder, told: false });
    }
    this.#holders.delete(agentId);
  }

  /** Whether rows wait to be freed, so that `sweep` has something to do. */
  get isLeaving(): boolean {
    return this.#leaving.size > 0;
  }

  /**
   * Looks at up to `count` rows that were given up.
   *
   * @returns Rows that just fell idle: whoever lent to them takes back what is in them, and only then
   *   are they given to others.
   */
  sweep(count: number): readonly FreedRow[] {
    const freed: FreedRow[] = [];
    let left = Math.min(count, this.#leaving.size);
    for (const leaving of this.#leaving) {
      if (left === 0) break;
      left -= 1;
      // To the end of the line, so that a long request does not keep the others from being looked at.
      this.#leaving.delete(leaving);
      const { holder } = leaving;
      if (!leaving.told && this.#rows.isIdle(holder.row)) {
        leaving.told = true;
        const { row, generation, agentId, contractId } = holder;
        freed.push({ row, generation, agentId, contractId });
        this.#leaving.add(leaving);
      } else if (leaving.told && this.#rows.reclaim(holder.row)) {
        for (const scope of holder.scopes) this.#cells.drop(scope);
        this.#leaveSources(holder);
      } else {
        this.#leaving.add(leaving);
      }
    }
    return freed;
  }

  get rowCount(): number {
    return this.#table.layout.rows - this.#rows.freeCount;
  }

  get keyCount(): number {
    return this.#keys.size;
  }

  /** Nothing more is charged to a row that was given up; what is given back to it is lost, never given twice. */
  #keepBuckets({ row, rate, rootId }: Holder): void {
    if (rootId === undefined || rate === undefined) return;
    this.#left.keep(rootId, { arrivals: bucketArrivals(this.#table, row), rate });
  }

  #seat(key: VirtualKey, named: readonly string[]): Holder | undefined {
    const scopes = scopesOf(key);
    const sources = this.#knownSources(key) ?? named;
    const cells = this.#takeCells(scopes, sources);
    if (!cells) return undefined;
    const ref = this.#rows.allot(cells);
    if (!ref) {
      for (const scope of scopes) this.#cells.drop(scope);
      return undefined;
    }
    const { agentId, contractId } = key;
    const holder = { ...ref, agentId, contractId, scopes, sources };
    this.#joinSources(holder);
    const ofAgent = this.#holders.get(agentId) ?? new Map<string, Holder>();
    this.#holders.set(agentId, ofAgent.set(contractId ?? "", holder));
    return holder;
  }

  #takeCells(scopes: readonly string[], sources: readonly string[]): RowCells | undefined {
    const cells: number[] = [];
    for (const scope of scopes) {
      const isKilled = isContract(scope) ? this.#anyKilled(sources) : this.#killed(scope);
      const cell = this.#cells.take(scope, isKilled);
      if (cell === undefined) {
        for (const taken of scopes.slice(0, cells.length)) this.#cells.drop(taken);
        return undefined;
      }
      cells.push(cell);
    }
    const [team, agent, contract = NO_CELL] = cells;
    assert(team !== undefined && agent !== undefined, "a row stands under a team and an agent");
    return { team, agent, contract };
  }

  /**
   * What its chain has shown: a key may name a contract without one, and must not make the cell that they share
   * forget what kills it.
   */
  #knownSources({ contractId }: VirtualKey): readonly string[] | undefined {
    const scope = `${CONTRACT}${contractId}`;
    return this.#under.get(scope)?.get(scope)?.sources;
  }

  /** D5, of a row that was seated for a key that names the contract, before its chain was seen. */
  #learnSources(holder: Holder, sources: readonly string[]): void {
    if (holder.sources.length === sources.length) return;
    this.#leaveSources(holder);
    holder.sources = sources;
    this.#joinSources(holder);
    this.#cells.store(`${CONTRACT}${holder.contractId}`, this.#anyKilled(sources));
  }

  #anyKilled(sources: readonly string[]): boolean {
    return sources.some((scope) => this.#killed(scope) || this.#ended.has(scope));
  }

  #joinSources({ contractId, sources }: Holder): void {
    const contract = `${CONTRACT}${contractId}`;
    for (const scope of sources) {
      const under = this.#under.get(scope) ?? new Map<string, Standing>();
      const rows = (under.get(contract)?.rows ?? 0) + 1;
      this.#under.set(scope, under.set(contract, { sources, rows }));
    }
  }

  #leaveSources({ contractId, sources }: Holder): void {
    const contract = `${CONTRACT}${contractId}`;
    for (const scope of sources) {
      const under = this.#under.get(scope);
      const standing = under?.get(contract);
      if (standing === undefined || under === undefined) continue;
      standing.rows -= 1;
      if (standing.rows === 0) under.delete(contract);
      if (under.size > 0) continue;
      this.#under.delete(scope);
      this.#ended.delete(scope);
    }
  }

  /** A root's buckets begin full, or as it left them; what is delegated takes nothing that its delegator has. */
  #begin(
    holder: Holder,
    { rate, rootId }: { readonly rate: Rate; readonly rootId: string | undefined },
    nowNs: bigint,
  ): void {
    const left = rootId === undefined ? "empty" : this.#left.take(rootId, nowNs);
    holder.rootId = rootId;
    holder.rate = rate;
    if (left === "empty") emptyBuckets(this.#table, holder.row, rate, nowNs);
    if (typeof left === "string") return;
    setBucketArrivals(this.#table, holder.row, left.arrivals);
    this.#refit(holder, left.rate, { rate, nowNs });
  }

  #refit(
    holder: Holder,
    before: Rate,
    { rate, nowNs }: { readonly rate: Rate; readonly nowNs: bigint },
  ): void {
    holder.rate = rate;
    if (before === rate) return;
    refitBuckets(this.#table, holder.row, { before, after: rate }, nowNs);
  }

  #grant(key: VirtualKey, holder: Holder): RowGrant {
    return {
      row: holder.row,
      generation: holder.generation,
      keyGeneration: keyGeneration(this.#table),
      agentId: key.agentId,
      keyId: key.keyId,
      contractId: key.contractId,
      notBeforeMs: key.notBeforeMs,
      notAfterMs: key.notAfterMs,
    };
  }
}

/** Team, agent and, where there is one, contract: in the order of a row's cells. */
function scopesOf(key: VirtualKey): readonly string[] {
  const id = parseAgentId(key.agentId);
  assert(id, `a merged key names agent ${key.agentId}`);
  const scopes = [`team/${id.team}`, `agent/${key.agentId}`];
  return key.contractId === undefined ? scopes : [...scopes, `contract/${key.contractId}`];
}

/** D5. An agent's own kill is not among them: its cell says that, and its connections are cut by it. */
function sourcesOf({ links, leaf }: VerifiedChain): readonly string[] {
  return killScopesOf(links).filter((scope) => scope !== `agent/${leaf.claims.agent}`);
}

function isContract(scope: string): boolean {
  return scope.startsWith(CONTRACT);
}
