import { type PackedBundle, packedBundle, partHash, partHashes } from "../../mesh/policy-parts.ts";
import type { MeshRecord } from "../../mesh/record.ts";
import { type Bus, BusFault } from "../../ports/bus.ts";
import type { Clock } from "../../ports/clock.ts";
import { type Store, StoreFault } from "../../ports/store.ts";
import type { Policy } from "../../proto/gen/altrace/v1/record_pb.ts";
import { PART_STREAM, partSubject } from "../../proto/subjects.ts";
import { Backoff } from "./backoff.ts";

const PART_PREFIX = "part/";
const RETRY_MS = { minMs: 100, maxMs: 5_000 };

export type PolicyFetchDeps = {
  readonly bus: Pick<Bus, "last">;
  readonly store: Store;
  readonly clock: Clock;
  /** Resolves after other events of this thread had their turn: a kill waits for no more than one part. */
  readonly nextTurn: () => Promise<void>;
  /** The policy is whole; whoever gets it opens and compiles it. */
  readonly onWhole: (version: number, sha256: string, bundle: Uint8Array | PackedBundle) => void;
  /** A part is nowhere to be had, or could not be kept; told once for each policy. */
  readonly onTrouble: (detail: string) => void;
};

/**
 * Brings the newest policy together: at once where it travels in its record, else part by part from this node's
 * disk or from the stream.
 *
 * One part is asked for at a time, so that a kill never waits behind more than one of them. The policy before stays
 * in force meanwhile. Parts are kept, so that a node which starts without a bus has its policy.
 */
export class PolicyFetch {
  readonly #deps: PolicyFetchDeps;
  readonly #backoff: Backoff;
  #newest: MeshRecord | undefined;
  #isClosed = false;

  constructor(deps: PolicyFetchDeps) {
    this.#deps = deps;
    this.#backoff = new Backoff(deps.clock, RETRY_MS);
  }

  take(record: MeshRecord): void {
    if (record.op.case !== "policy") return;
    this.#newest = record;
    const policy = record.op.value;
    if (policy.parts.length > 0) void this.#bring(record, policy);
    else this.#deps.onWhole(record.v, hexOf(policy.sha256), policy.body);
  }

  close(): void {
    this.#isClosed = true;
    this.#backoff.close();
  }

  async #bring(record: MeshRecord, policy: Policy): Promise<void> {
    const isWanted = () => !this.#isClosed && this.#newest === record;
    for (let attempt = 0; isWanted(); attempt += 1) {
      const parts = await this.#parts(policy, isWanted, (detail) => {
        if (attempt === 0) this.#deps.onTrouble(detail);
      });
      if (!isWanted()) return;
      if (parts !== undefined) {
        const packed = packedBundle(policy, parts);
        this.#backoff.reset();
        this.#deps.onWhole(record.v, packed.sha256, packed);
        return this.#keepOnly(policy);
      }
      await this.#backoff.pause();
    }
  }

  async #parts(
    policy: Policy,
    isWanted: () => boolean,
    trouble: (detail: string) => void,
  ): Promise<readonly Uint8Array[] | undefined> {
    const parts: Uint8Array[] = [];
    for (const hash of partHashes(policy)) {
      if (!isWanted()) return undefined;
      const part = this.#kept(hash) ?? (await this.#fromStream(hash, trouble));
      if (part === undefined) return undefined;
      parts.push(part);
      await this.#deps.nextTurn();
    }
    return parts;
  }

  /** A part that its disk has changed is as good as none: with it the policy would be refused at every start. */
  #kept(hash: string): Uint8Array | undefined {
    const part = this.#deps.store.get(PART_PREFIX + hash);
    return part !== undefined && partHash(part) === hash ? part : undefined;
  }

  async #fromStream(
    hash: string,
    trouble: (detail: string) => void,
  ): Promise<Uint8Array | undefined> {
    const { store } = this.#deps;
    try {
      const found = (await this.#copyOf(hash)) ?? (await this.#asked(hash));
      if (found === undefined) {
        trouble(`part ${hash} is not in the stream`);
        return undefined;
      }
      await store.commit([{ key: PART_PREFIX + hash, value: found }]).catch((error) => {
        if (!(error instanceof StoreFault)) throw error;
        // In force it comes all the same; the next start asks for it again.
        trouble(String(error));
      });
      return found;
    } catch (error) {
      if (!(error instanceof BusFault)) throw error;
      return undefined;
    }
  }

  /** From whichever server has it: a mesh that asks one alone has that one say every part to every node. */
  async #copyOf(hash: string): Promise<Uint8Array | undefined> {
    try {
      return await this.#asked(hash, "any");
    } catch (error) {
      // Also where the server's permissions are from before nodes asked so.
      if (!(error instanceof BusFault)) throw error;
      return undefined;
    }
  }

  /** A part is whatever has its hash, whoever says it. */
  async #asked(hash: string, from?: "any"): Promise<Uint8Array | undefined> {
    const found = await this.#deps.bus.last(PART_STREAM, partSubject(hash), from);
    return found && partHash(found.bytes) === hash ? found.bytes : undefined;
  }

  /** Drops what other policies had. */
  async #keepOnly(policy: Policy): Promise<void> {
    const { store, nextTurn } = this.#deps;
    const kept = new Set(partHashes(policy).map((hash) => PART_PREFIX + hash));
    let after = PART_PREFIX;
    while (!this.#isClosed) {
      const [found] = store.list(PART_PREFIX, { after, limit: 1 });
      if (found === undefined) return;
      [after] = found;
      try {
        if (!kept.has(after)) await store.commit([{ key: after, value: undefined }]);
      } catch (error) {
        // It stays until the next policy comes.
        if (!(error instanceof StoreFault)) throw error;
      }
      await nextTurn();
    }
  }
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
