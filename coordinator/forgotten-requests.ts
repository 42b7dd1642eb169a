import { timeOfUuidV7 } from "../ports/random.ts";
import type { Write } from "../ports/store.ts";
import { count, members, text } from "./ledger-entry.ts";
import type { Lease } from "./ledger-lease.ts";

export const FORGOTTEN_PREFIX = "ledger/forgotten/";

/** Up to when one start of a node asked for leases of which nothing is remembered. */
type Mark = {
  readonly bootId: string;
  /** Time in the latest id of such a request, by the node's own clock, ms since the Unix epoch. */
  readonly askedMs: number;
  /** The latest grant of such a lease, by the ledger's wall clock, ms since the Unix epoch. */
  readonly grantedMs: number;
};

/**
 * Which requests may have been granted before, although nothing is remembered of them.
 *
 * Where leases are many, one that is final is forgotten soon: a thousand a second would be millions. Whoever says its request
 * again, late or by a recording of it, must not be granted another. Ids of requests carry their time, so one
 * number for each node tells what may be forgotten from what is new. A node whose own question is taken for
 * forgotten, because nobody ever heard of it, hears so and asks anew under another id.
 */
export class ForgottenRequests {
  /** By node. Of each only the last start counts: what an ended one asks is refused elsewhere. */
  readonly #marks = new Map<string, Mark>();
  readonly #changed = new Set<string>();

  /** Whether the request is no newer than one whose lease was forgotten. */
  has({ node, bootId, requestId }: Pick<Lease, "node" | "bootId" | "requestId">): boolean {
    const mark = this.#marks.get(node);
    if (mark === undefined || mark.bootId !== bootId) return false;
    const askedMs = timeOfUuidV7(requestId);
    return askedMs !== undefined && askedMs <= mark.askedMs;
  }

  /** Takes in that this lease is remembered no more. */
  add({ node, bootId, requestId, grantedAtMs }: Lease): void {
    const askedMs = timeOfUuidV7(requestId);
    const before = this.#marks.get(node);
    if (askedMs === undefined) return;
    const isSame = before?.bootId === bootId;
    // What an earlier start left behind may be settled long after the next one has begun to borrow.
    if (before !== undefined && !isSame && grantedAtMs < before.grantedMs) return;
    const grantedMs = Math.max(grantedAtMs, before?.grantedMs ?? 0);
    const latestMs = isSame ? Math.max(askedMs, before.askedMs) : askedMs;
    this.#marks.set(node, { bootId, askedMs: latestMs, grantedMs });
    this.#changed.add(node);
  }

  /** What must be written for the store to hold this, and forgets that it must. */
  takeWrites(): readonly Write[] {
    const writes = [...this.#changed].map((node) => ({
      key: FORGOTTEN_PREFIX + node,
      value: Buffer.from(JSON.stringify(this.#marks.get(node))),
    }));
    this.#changed.clear();
    return writes;
  }

  /** @throws TypeError It is not what this program writes. */
  load(node: string, value: unknown): void {
    const { bootId, askedMs, grantedMs } = members(value, ["bootId", "askedMs", "grantedMs"]);
    const mark = { bootId: text(bootId), askedMs: count(askedMs), grantedMs: count(grantedMs) };
    this.#marks.set(node, mark);
  }
}
