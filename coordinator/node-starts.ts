import { timeOfUuidV7 } from "../ports/random.ts";
import type { Write } from "../ports/store.ts";
import { count, members, text } from "./ledger-entry.ts";
import type { Lease, LeaseRequest } from "./ledger-lease.ts";

export const START_PREFIX = "ledger/start/";
/** What earlier versions wrote instead. */
export const FORMER_START_PREFIX = "ledger/forgotten/";

/** The latest start of a node that asked for a lease. */
type Start = {
  readonly bootId: string;
  /**
   * Time in the id of its latest request up to which not all is remembered, by the node's own clock, ms since the Unix
   * epoch; 0: there is none.
   */
  readonly askedMs: number;
};

/** Why nothing is lent to a request, however much there is. */
export type StartRefusal =
  /** A later start of its node has asked since. */
  | "boot_ended"
  /** It is no newer than one whose lease is not remembered, so it may be that one. */
  | "request_forgotten";

/**
 * Which requests may be recordings, although nothing is remembered of them.
 *
 * Whoever can hear the bus can say a request again, whenever it likes. What it was granted goes to a start that has
 * ended, or that has settled it: charged, and spent by nobody. So two things are known of every node, on the ledger's
 * disk, for as long as it is one of the mesh: its latest start, before which nothing is lent to it any more, and up to when
 * that start asked for leases that are forgotten, or for what this run, which has no memory of refusals before it, found
 * granted. Starts are in the order of their ids, and a node's ids are each of a later time than all before
 * (`node/boot-id.ts`), as are those of its requests.
 */
export class NodeStarts {
  readonly #latest = new Map<string, Start>();
  readonly #changed = new Set<string>();
  /** Nodes of which the store has the entry of an earlier version. */
  readonly #former = new Set<string>();

  /** Takes in that a start asks, if it may ask. */
  take(request: LeaseRequest): StartRefusal | undefined {
    const { node, bootId, requestId } = request;
    const latest = this.#latest.get(node);
    if (latest === undefined || latest.bootId < bootId) {
      this.#put(node, { bootId, askedMs: 0 });
      return undefined;
    }
    if (latest.bootId !== bootId) return "boot_ended";
    const askedMs = timeOfUuidV7(requestId);
    const isNew = askedMs === undefined || askedMs > latest.askedMs;
    return isNew ? undefined : "request_forgotten";
  }

  /** Takes in that of what its start asked up to this lease not all is remembered. */
  forget({ node, bootId, requestId }: Lease): void {
    const askedMs = timeOfUuidV7(requestId) ?? 0;
    const latest = this.#latest.get(node);
    if (latest === undefined || latest.bootId < bootId) this.#put(node, { bootId, askedMs });
    else if (latest.bootId === bootId && latest.askedMs < askedMs) {
      this.#put(node, { bootId, askedMs });
    }
  }

  /** Nodes of which a start is known. */
  nodes(): IterableIterator<string> {
    return this.#latest.keys();
  }

  /** The node is none of the mesh any more, and its signature counts for nothing. */
  drop(node: string): void {
    if (this.#latest.delete(node)) this.#changed.add(node);
  }

  /** What must be written for the store to hold this, and forgets that it must. */
  takeWrites(): readonly Write[] {
    const writes: Write[] = [];
    for (const node of this.#changed) {
      const start = this.#latest.get(node);
      const value = start && Buffer.from(JSON.stringify(start));
      writes.push({ key: START_PREFIX + node, value });
      if (this.#former.delete(node)) {
        writes.push({ key: FORMER_START_PREFIX + node, value: undefined });
      }
    }
    this.#changed.clear();
    return writes;
  }

  /** @throws TypeError It is not what this program writes. */
  load(node: string, value: unknown): void {
    const { bootId, askedMs } = members(value, ["bootId", "askedMs"]);
    this.#latest.set(node, { bootId: text(bootId), askedMs: count(askedMs) });
  }

  /** @throws TypeError It is not what earlier versions wrote. */
  loadFormer(node: string, value: unknown): void {
    const { bootId, askedMs } = members(value, ["bootId", "askedMs", "grantedMs"]);
    this.#put(node, { bootId: text(bootId), askedMs: count(askedMs) });
    this.#former.add(node);
  }

  #put(node: string, start: Start): void {
    this.#latest.set(node, start);
    this.#changed.add(node);
  }
}
