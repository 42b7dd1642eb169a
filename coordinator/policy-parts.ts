import { setImmediate as nextTurn } from "node:timers/promises";
import {
  PACKED_BYTES_MAX,
  PARTS_MAX,
  type PackedBundle,
  packedBundle,
  partHash,
  partHashes,
} from "../mesh/policy-parts.ts";
import type { Bus } from "../ports/bus.ts";
import type { Store, Write } from "../ports/store.ts";
import type { Policy } from "../proto/gen/altrace/v1/record_pb.ts";
import { PART_STREAM, partSubject } from "../proto/subjects.ts";
import { CommandRefused } from "./command-refused.ts";
import { PART_STORE_PREFIX, partKey } from "./store-keys.ts";

export type PolicyPartsOptions = { readonly store: Store; readonly bus: Bus };

/**
 * Parts of policies: handed over by an operator, kept on this coordinator's disk, and put into the stream, where
 * nodes and the other coordinators find them by their hashes.
 */
export class PolicyParts {
  readonly #options: PolicyPartsOptions;
  /** What was handed over and is of no record yet, oldest first. */
  readonly #offered = new Map<string, Uint8Array>();

  constructor(options: PolicyPartsOptions) {
    this.#options = options;
  }

  /** Keeps a part until a record names it, or as many newer ones came as a policy can have. */
  offer(part: Uint8Array): void {
    if (part.length === 0 || part.length > PACKED_BYTES_MAX) {
      throw new CommandRefused("record_too_large", `a part has 1 to ${PACKED_BYTES_MAX} bytes`);
    }
    const hash = partHash(part);
    this.#offered.delete(hash);
    this.#offered.set(hash, part);
    const [oldest] = this.#offered.keys();
    if (this.#offered.size > PARTS_MAX && oldest !== undefined) this.#offered.delete(oldest);
  }

  /** The policy's parts, as far as they are here; `undefined` when one is not. */
  here(policy: Policy): Promise<PackedBundle | undefined> {
    return this.#together(policy, async () => undefined);
  }

  /** The same, with what is not here from the stream; that is kept. Rejects with BusFault or StoreFault. */
  find(policy: Policy): Promise<PackedBundle | undefined> {
    return this.#together(policy, (hash) => this.#fromStream(hash));
  }

  /** What has to be on the disk before anybody is told that the record is accepted. */
  writesOf(policy: Policy): readonly Write[] {
    return partHashes(policy).flatMap((hash) => {
      const value = this.#offered.get(hash);
      return value === undefined ? [] : [{ key: partKey(hash), value }];
    });
  }

  /**
   * Makes the policy's parts the newest of the stream: it keeps so many of all, and parts of an old policy that
   * this one has too would be the next to go. Rejects with BusFault.
   *
   * @param onlyMissing Leaves alone what is there.
   */
  async publish(policy: Policy, options: { readonly onlyMissing: boolean }): Promise<void> {
    const { bus } = this.#options;
    for (const hash of new Set(partHashes(policy))) {
      const part = this.#part(hash);
      if (part === undefined) continue;
      const subject = partSubject(hash);
      const last = await bus.last(PART_STREAM, subject);
      if (options.onlyMissing && last !== undefined && partHash(last.bytes) === hash) continue;
      const expectSeq = last?.seq ?? 0;
      // In a conflict somebody else has just put it there.
      await bus.append(subject, part, { msgId: `${hash.slice(0, 48)}-${expectSeq}`, expectSeq });
    }
  }

  /** Drops from the disk what the policy in force does not have. Rejects with StoreFault. */
  async keepOnly(policy: Policy): Promise<void> {
    const { store } = this.#options;
    const kept = new Set(partHashes(policy));
    for (const hash of kept) this.#offered.delete(hash);
    const gone = store
      .list(PART_STORE_PREFIX)
      .filter(([key]) => !kept.has(key.slice(PART_STORE_PREFIX.length)))
      .map(([key]) => ({ key, value: undefined }));
    if (gone.length > 0) await store.commit(gone);
  }

  /** Part by part, between which others get their turns: the look at each takes a fifth of a millisecond. */
  async #together(
    policy: Policy,
    missing: (hash: string) => Promise<Uint8Array | undefined>,
  ): Promise<PackedBundle | undefined> {
    const parts: Uint8Array[] = [];
    for (const hash of partHashes(policy)) {
      const part = this.#part(hash) ?? (await missing(hash));
      if (part === undefined) return undefined;
      parts.push(part);
      await nextTurn();
    }
    return packedBundle(policy, parts);
  }

  async #fromStream(hash: string): Promise<Uint8Array | undefined> {
    const { bus, store } = this.#options;
    const found = await bus.last(PART_STREAM, partSubject(hash));
    if (found === undefined || partHash(found.bytes) !== hash) return undefined;
    await store.commit([{ key: partKey(hash), value: found.bytes }]);
    return found.bytes;
  }

  /** What the disk has changed is no part: with it the policy would be read at no start, and nodes would be given it. */
  #part(hash: string): Uint8Array | undefined {
    const offered = this.#offered.get(hash);
    if (offered !== undefined) return offered;
    const kept = this.#options.store.get(partKey(hash));
    return kept !== undefined && partHash(kept) === hash ? kept : undefined;
  }
}
