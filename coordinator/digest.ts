import { create, toBinary } from "@bufbuild/protobuf";
import { seal } from "../mesh/sealed.ts";
import type { Bus } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import type { Signer } from "../ports/keys.ts";
import { BeatSchema } from "../proto/gen/altrace/v1/mesh_pb.ts";
import { DIGEST_SUBJECT } from "../proto/subjects.ts";
import type { LeaderProbe } from "./leader-probe.ts";
import type { Replica } from "./replica.ts";

/** A digest out of turn comes at least so long after the one before, ms. */
export const DIGEST_APART_MS = 200;

export type DigestOptions = {
  readonly replicaId: string;
  readonly bootId: string;
  readonly epoch: number;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly signer: Signer;
  readonly replica: Replica;
  readonly leader: LeaderProbe;
  readonly everyMs: number;
  /** Says what is to be heard ahead of a digest. */
  readonly before: () => void;
};

/**
 * This coordinator's sign of life, once a second: nodes stay open on nothing else.
 *
 * (epoch, n) only ever grows, so a recording is known as one. The time is that of a monotonic clock
 * that began with this process: a wall clock that jumps closes nobody. What the digest says of the
 * quorum is measured, so nodes close when this replica has lost the stream, although it lives.
 */
export class Digest {
  readonly #options: DigestOptions;
  readonly #originNs: bigint;
  #n = 0n;
  #isStopped = false;
  #cancel: () => void = () => undefined;
  #sentNs: bigint | undefined;
  #cancelSoon: (() => void) | undefined;

  constructor(options: DigestOptions) {
    this.#options = options;
    this.#originNs = options.clock.monoNs();
  }

  /** Monotonic ms since this process began, cut to whole ones: what digests and nonce replies show. */
  monoMs(): number {
    return Number((this.#options.clock.monoNs() - this.#originNs) / 1_000_000n);
  }

  start(): void {
    this.#cancel();
    this.#tick();
  }

  /**
   * For a node that has just begun: it opens on a digest alone, and what its agents ask for waits meanwhile.
   * However many begin at once, all of them hear one digest, and those of one moment no more than that. A coordinator
   * that begins with them has sent none yet, and none before it has read the stream: then it is sent as soon as it has.
   */
  soon(): void {
    if (this.#cancelSoon !== undefined || this.#isStopped) return;
    const agoNs = this.#options.clock.monoNs() - (this.#sentNs ?? 0n);
    this.#sendIn(this.#sentNs === undefined ? 0 : DIGEST_APART_MS - Number(agoNs / 1_000_000n));
  }

  #sendIn(ms: number): void {
    const { clock, replica } = this.#options;
    this.#cancelSoon = clock.after(Math.max(0, ms), () => {
      this.#cancelSoon = undefined;
      if (replica.isReplayed) this.#send();
      else this.#sendIn(DIGEST_APART_MS);
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel();
    this.#cancelSoon?.();
  }

  #tick(): void {
    const { clock, everyMs, leader } = this.#options;
    this.#cancel = clock.after(everyMs, () => this.#tick());
    const wasHeard = leader.isHeard;
    // The answer counts for the next digest; this one says how old the last answer is. Only the very
    // first answer is told at once: until then no digest opens anybody.
    void leader.ask().then(() => {
      if (!wasHeard && leader.isHeard) this.#send();
    });
    this.#send();
  }

  #send(): void {
    const { replicaId, bootId, epoch, bus, signer, replica, leader, before } = this.#options;
    // Before it has read the stream this replica knows of no kills that it could vouch for.
    if (this.#isStopped || !replica.isReplayed) return;
    this.#n += 1n;
    this.#sentNs = this.#options.clock.monoNs();
    const beat = create(BeatSchema, {
      from: replicaId,
      bootId,
      epoch: BigInt(epoch),
      n: this.#n,
      monoMs: BigInt(this.monoMs()),
      lastSeq: BigInt(replica.lastSeq),
      stateHash: replica.state.hash(),
      quorumAgeMs: BigInt(leader.quorumAgeMs()),
    });
    before();
    bus.send(DIGEST_SUBJECT, seal("beat", toBinary(BeatSchema, beat), signer));
  }
}
