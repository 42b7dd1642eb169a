import { openParts, type PackedBundle, PartsMalformed } from "../mesh/policy-parts.ts";
import type { MeshRecord } from "../mesh/record.ts";
import { type Bus, BusFault } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import { inSlices } from "../ports/in-slices.ts";
import { backoffMs, pause } from "../ports/pause.ts";
import { StoreFault } from "../ports/store.ts";
import type { Policy } from "../proto/gen/altrace/v1/record_pb.ts";
import type { Tell } from "./events.ts";
import { noteHash } from "./policy-of-bundle.ts";
import type { PolicyParts } from "./policy-parts.ts";
import type { Replica } from "./replica.ts";

export type PolicyNow = {
  /** Of its record. */
  readonly v: number;
  readonly hashHex: string;
  readonly bundle: Uint8Array;
};

export type PolicyInHandOptions = {
  readonly replica: Pick<Replica, "state" | "onRecord">;
  readonly parts: PolicyParts;
  readonly bus: Pick<Bus, "onUp">;
  readonly clock: Clock;
  /** Reads a bundle in slices, so that who asks for it then finds it read. */
  readonly readAhead: (bundle: Uint8Array) => Promise<unknown>;
  readonly tell: Tell;
};

const RETRY_MS = { min: 100, max: 2_000 };

/**
 * The newest policy whose bundle is here.
 *
 * Of one that travels in its record that is the current one, from the turn in which the record comes. One in parts
 * has to be put together and read first, and until then the policy before it is what this coordinator lends by;
 * nodes are told that theirs was not read here yet (`policy_unread`).
 */
export class PolicyInHand {
  readonly #options: PolicyInHandOptions;
  readonly #onChange: ((policy: PolicyNow) => void)[] = [];
  readonly #stopping = new AbortController();
  #now: PolicyNow | undefined;
  /** What was put together last: asked for before a record is accepted, and again when it is. */
  #opened: { readonly sha256: string; readonly bundle: Uint8Array } | undefined;

  constructor(options: PolicyInHandOptions) {
    this.#options = options;
    const { replica, bus } = options;
    const current = replica.state.get("policy");
    if (current !== undefined) this.#take(current);
    replica.onRecord((record) => this.#take(record));
    // A stream that was lost, or has made room for newer ones, gets them from whoever has them.
    bus.onUp(() => void this.#offerAgain());
  }

  get now(): PolicyNow | undefined {
    return this.#now;
  }

  /** Calls `fn` whenever another policy is in hand. */
  onChange(fn: (policy: PolicyNow) => void): void {
    this.#onChange.push(fn);
  }

  stop(): void {
    this.#stopping.abort();
  }

  /**
   * The bundle of a policy, put together where it has to be; `undefined` when a part is not here.
   *
   * @throws PartsMalformed
   */
  async bundleOf(policy: Policy): Promise<Uint8Array | undefined> {
    if (policy.parts.length === 0) return policy.body;
    return this.#open(await this.#options.parts.here(policy));
  }

  async #open(packed: PackedBundle | undefined): Promise<Uint8Array | undefined> {
    if (packed === undefined) return undefined;
    const { sha256 } = packed;
    if (this.#opened?.sha256 === sha256) return this.#opened.bundle;
    const bundle = await inSlices(openParts(packed), this.#options);
    noteHash(bundle, sha256);
    this.#opened = { sha256, bundle };
    return bundle;
  }

  #take(record: MeshRecord): void {
    if (record.op.case !== "policy") return;
    const policy = record.op.value;
    if (policy.parts.length === 0) this.#put(record, policy.body);
    else void this.#bring(record, policy);
  }

  #put({ v, hashHex }: MeshRecord, bundle: Uint8Array): void {
    this.#now = { v, hashHex, bundle };
    for (const fn of this.#onChange) fn(this.#now);
  }

  async #bring(record: MeshRecord, policy: Policy): Promise<void> {
    const { parts, readAhead, clock, tell } = this.#options;
    const { signal } = this.#stopping;
    for (let attempt = 0; !signal.aborted && this.#isCurrent(record); attempt += 1) {
      try {
        const bundle = await this.#open(await parts.find(policy));
        if (bundle !== undefined) {
          await readAhead(bundle);
          if (signal.aborted || !this.#isCurrent(record)) return;
          this.#put(record, bundle);
          await parts.keepOnly(policy);
          return;
        }
        if (attempt === 0) tell("policy_part_missing", { v: record.v, hash: record.hashHex });
      } catch (error) {
        if (error instanceof PartsMalformed) {
          tell("policy_unusable", { v: record.v, hash: record.hashHex, error: String(error) });
          return;
        }
        if (!(error instanceof BusFault || error instanceof StoreFault)) throw error;
      }
      await pause(clock, backoffMs(attempt, RETRY_MS), signal);
    }
  }

  #isCurrent({ hashHex }: MeshRecord): boolean {
    return this.#options.replica.state.get("policy")?.hashHex === hashHex;
  }

  async #offerAgain(): Promise<void> {
    const op = this.#options.replica.state.get("policy")?.op;
    if (op?.case !== "policy" || op.value.parts.length === 0) return;
    try {
      await this.#options.parts.publish(op.value, { onlyMissing: true });
    } catch (error) {
      // The next connection tries again.
      if (!(error instanceof BusFault)) throw error;
    }
  }
}
