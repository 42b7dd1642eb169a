import { parseAgentId, scopesOfAgent } from "../proto/ids.ts";
import { BucketSums } from "./bucket-sums.ts";
import { distrustOf } from "./distrust-of.ts";
import type { MeshRecord } from "./record.ts";

// Merged state of the mesh: for each scope the greatest record seen.
//
// K1. The same set of records gives the same state, in any order, with any repetition.
// K3. At equal version a kill wins.
// K4. The version of a scope never goes down; of a distrust its era does not, nor its amount within one.

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

const MODULUS = 1n << 256n;
/** Changes between two looks at the sum; more are summed up at once, so that no look takes long. */
const UNSUMMED_MAX = 64;

/** State of one replica. Only `merge` changes it. */
export class MeshState {
  readonly #current = new Map<string, MeshRecord>();
  #sum = 0n;
  /** Hashes that the sum does not know of yet: what came in, and what that took the place of. */
  readonly #unsummed: { readonly added: MeshRecord; readonly removed: MeshRecord | undefined }[] =
    [];
  readonly #buckets = new BucketSums();
  #sortedScopes: readonly string[] | undefined;

  /** Takes in a record that `openRecord` or `restoreRecord` returned. */
  merge(record: MeshRecord): Merge {
    const before = this.#current.get(record.scope);
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
    return this.#current.values();
  }

  /** Current records whose scope sorts after `scope`, in scope order: one page of the state. */
  recordsAfter(scope: string, count: number): readonly MeshRecord[] {
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
    this.#sumUp();
    return this.#sum.toString(16).padStart(64, "0");
  }

  /** What tells two states apart piece by piece, where their hashes only say that they differ. */
  buckets(): BucketSums {
    this.#sumUp();
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

  #replace(before: MeshRecord | undefined, record: MeshRecord): void {
    this.#current.set(record.scope, record);
    // A kill waits for this turn, and its hash and the sum of all are wanted only once it is in force.
    this.#unsummed.push({ added: record, removed: before });
    if (this.#unsummed.length >= UNSUMMED_MAX) this.#sumUp();
  }

  #sumUp(): void {
    for (const { added, removed } of this.#unsummed.splice(0)) {
      const gone = removed ? BigInt(`0x${removed.hashHex}`) : 0n;
      this.#sum = (this.#sum - gone + BigInt(`0x${added.hashHex}`) + MODULUS) % MODULUS;
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
 * again, however late, makes it smaller.
 */
export function isGreater(left: MeshRecord, right: MeshRecord): boolean {
  const [mine, other] = [distrustOf(left.op), distrustOf(right.op)];
  const era = (mine?.era ?? 0n) - (other?.era ?? 0n);
  if (era !== 0n) return era > 0n;
  const amount = (mine?.milli ?? 0n) - (other?.milli ?? 0n);
  if (amount !== 0n) return amount > 0n;
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
