import { parseAgentId, scopesOfAgent } from "../proto/ids.ts";
import { BucketSums } from "./bucket-sums.ts";
import { CONTRACT_END_AHEAD_MS, contractEndOf } from "./contract-end.ts";
import { distrustOf } from "./distrust-of.ts";
import { DueHeap } from "./due-heap.ts";
import type { MeshRecord } from "./record.ts";

// Merged state of the mesh: for each scope the greatest record seen.
//
// K1. The same set of records gives the same state, in any order, with any repetition.
// K3. At equal version a kill wins.
// K4. The version of a scope never goes down; of a distrust its era does not, nor its amount within one, and of a
//     revoked contract its end does not.
// K8. The latest end of all revoked contracts, less what a contract's end may lie ahead, has been passed by every
//     clock. Revocations of contracts that had ended by then are no part of the state, whenever they come: so what is
//     kept follows from the records alone, and is the same on every replica.

/** What a merge did. */
export type Merge = {
  /**
   * `changed`: a newer version took over. `known`: the current record came again. `older`: a newer
   * one is current. `conflict`: another record of the current version; two commands crossed.
   */
  readonly outcome: "changed" | "known" | "older" | "conflict";
  /** Whether the scope's current record is now another one. */
  readonly changed: boolean;
  /** What was current before, if something was. */
  readonly before: MeshRecord | undefined;
};

/** What came, and what went for it. */
type Replaced = {
  readonly added: MeshRecord | undefined;
  readonly removed: MeshRecord | undefined;
};

const MODULUS = 1n << 256n;
/** Changes between two looks at the sum; more are summed up at once, so that no look takes long. */
const UNSUMMED_MAX = 64;
/** Revocations that are forgotten in one go: some tenths of a millisecond. */
const FORGET_MAX = 64;

export type MeshStateOptions = {
  /** A revocation is no part of the state any more (K8). */
  readonly onForgotten?: (record: MeshRecord) => void;
};

/** State of one replica. Only `merge` changes it. */
export class MeshState {
  readonly #onForgotten: (record: MeshRecord) => void;
  readonly #current = new Map<string, MeshRecord>();
  #sum = 0n;
  /** Hashes that the sum does not know of yet: what came in, and what that took the place of. */
  readonly #unsummed: Replaced[] = [];
  readonly #buckets = new BucketSums();
  #sortedScopes: readonly string[] | undefined;
  /** Revoked contracts by their ends. */
  readonly #ends = new DueHeap();
  #contractsEndedMs = 0;

  constructor({ onForgotten = () => undefined }: MeshStateOptions = {}) {
    this.#onForgotten = onForgotten;
  }

  /**
   * Contracts that end by then have ended, by what the mesh itself says and whatever a clock shows: their revocations
   * are forgotten, so nobody may take them for valid. Ms since the Unix epoch; only ever rises.
   */
  get contractsEndedMs(): number {
    return this.#contractsEndedMs;
  }

  /** Takes in a record that `openRecord` or `restoreRecord` returned. */
  merge(record: MeshRecord): Merge {
    const before = this.#current.get(record.scope);
    const endMs = contractEndOf(record) ?? Number.POSITIVE_INFINITY;
    if (endMs <= this.#contractsEndedMs) return { outcome: "older", changed: false, before };
    if (!before) {
      this.#sortedScopes = undefined;
      this.#replace(undefined, record);
      return { outcome: "changed", changed: true, before };
    }
    const isSameVersion = before.v === record.v;
    if (isSameVersion && before.hashHex === record.hashHex)
      return { outcome: "known", changed: false, before };
    const changed = isGreater(record, before);
    if (changed) this.#replace(before, record);
    if (isSameVersion) return { outcome: "conflict", changed, before };
    return { outcome: changed ? "changed" : "older", changed, before };
  }

  /** The scope's current record. */
  get(scope: string): MeshRecord | undefined {
    return this.#current.get(scope);
  }

  /** Number of scopes that have a record. */
  get size(): number {
    return this.#current.size;
  }

  /** All current records, in no particular order. */
  records(): IterableIterator<MeshRecord> {
    this.#settle();
    return this.#current.values();
  }

  /** Current records whose scope sorts after `scope`, in scope order: one page of the state. */
  recordsAfter(scope: string, count: number): readonly MeshRecord[] {
    this.#settle();
    this.#sortedScopes ??= [...this.#current.keys()].sort();
    const scopes = this.#sortedScopes;
    const start = firstAfter(scopes, scope);
    return scopes.slice(start, start + count).map((s) => this.#current.get(s) as MeshRecord);
  }

  /** Sum modulo 2^256 of the hashes of all current records, 32 bytes big endian. */
  hash(): Uint8Array {
    return Buffer.from(this.hashHex(), "hex");
  }

  hashHex(): string {
    this.#settle();
    return this.#sum.toString(16).padStart(64, "0");
  }

  /** What tells two states apart piece by piece, where their hashes only say that they differ. */
  buckets(): BucketSums {
    this.#settle();
    return this.#buckets;
  }

  /** Whether the scope's current record is a kill. */
  killed(scope: string): boolean {
    return this.#current.get(scope)?.op.case === "kill";
  }

  /** Every scope that is killed now, in no particular order. */
  killedScopes(): readonly string[] {
    return [...this.#current.keys()].filter((scope) => this.killed(scope));
  }

  /**
   * The kills that cover an agent: of everybody, of its team, of itself, in this order.
   *
   * @param agentId `team/agent`; anything else is our bug and throws.
   */
  killsFor(agentId: string): readonly MeshRecord[] {
    const id = parseAgentId(agentId);
    if (!id) throw new TypeError(`not an agent id: ${agentId}`);
    return scopesOfAgent(id).flatMap((scope) => {
      const record = this.#current.get(scope);
      return record?.op.case === "kill" ? [record] : [];
    });
  }

  /**
   * Forgets some of what K8 lets go of. Whoever must not be busy for long calls it until there is no more, a little at a
   * time; whoever asks for the hash gets that of the state without it in any case.
   *
   * @returns Whether there is more.
   */
  forgetEnded(): boolean {
    for (let forgotten = 0; forgotten < FORGET_MAX; forgotten += 1) {
      const scope = this.#ends.take(this.#contractsEndedMs);
      if (scope === undefined) return false;
      const record = this.#current.get(scope);
      // Signed again since, with a later end.
      if (!record || (contractEndOf(record) ?? 0) > this.#contractsEndedMs) continue;
      this.#current.delete(scope);
      this.#sortedScopes = undefined;
      this.#unsummed.push({ added: undefined, removed: record });
      this.#onForgotten(record);
    }
    this.#sumUp();
    return true;
  }

  #replace(before: MeshRecord | undefined, record: MeshRecord): void {
    this.#current.set(record.scope, record);
    this.#noteEnd(record);
    // A kill waits for this turn, and its hash and the sum of all are wanted only once it is in force.
    this.#unsummed.push({ added: record, removed: before });
    if (this.#unsummed.length >= UNSUMMED_MAX) this.#sumUp();
  }

  #noteEnd(record: MeshRecord): void {
    const atMs = contractEndOf(record);
    if (atMs === undefined) return;
    this.#ends.add({ atMs, id: record.scope });
    this.#contractsEndedMs = Math.max(this.#contractsEndedMs, atMs - CONTRACT_END_AHEAD_MS);
  }

  #settle(): void {
    while (this.forgetEnded());
    this.#sumUp();
  }

  #sumUp(): void {
    for (const { added, removed } of this.#unsummed.splice(0)) {
      const gone = removed ? BigInt(`0x${removed.hashHex}`) : 0n;
      const come = added ? BigInt(`0x${added.hashHex}`) : 0n;
      this.#sum = (this.#sum - gone + come + MODULUS) % MODULUS;
      this.#buckets.replace(removed, added);
    }
  }
}

/**
 * The order of two records of one scope that differ: total, and the same on every replica.
 *
 * Version decides, then kill over anything else, then the hash. Distrust is first compared by its
 * era, which an operator alone begins, and then by its amount: within an era it only ever rises, so that
 * of two coordinators that learnt something at once neither lesson is lost, and nothing that is said
 * again, however late, makes it smaller. So with the end of a revoked contract: what says a later one is kept longer.
 */
export function isGreater(left: MeshRecord, right: MeshRecord): boolean {
  const [mine, other] = [distrustOf(left.op), distrustOf(right.op)];
  const era = (mine?.era ?? 0n) - (other?.era ?? 0n);
  if (era !== 0n) return era > 0n;
  const amount = (mine?.milli ?? 0n) - (other?.milli ?? 0n);
  if (amount !== 0n) return amount > 0n;
  const [myEnd, otherEnd] = [contractEndOf(left), contractEndOf(right)];
  if (myEnd !== otherEnd && myEnd !== undefined && otherEnd !== undefined) return myEnd > otherEnd;
  if (left.v !== right.v) return left.v > right.v;
  const isKill = left.op.case === "kill";
  if (isKill !== (right.op.case === "kill")) return isKill;
  return left.hashHex > right.hashHex;
}

function firstAfter(sorted: readonly string[], text: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as string) > text) high = middle;
    else low = middle + 1;
  }
  return low;
}
