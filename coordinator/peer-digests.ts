import { fromBinary } from "@bufbuild/protobuf";
import { openSealed } from "../mesh/sealed.ts";
import { coordinatorKey } from "../mesh/trust.ts";
import type { Bus } from "../ports/bus.ts";
import type { Clock } from "../ports/clock.ts";
import type { Keys } from "../ports/keys.ts";
import { type Beat, BeatSchema } from "../proto/gen/altrace/v1/mesh_pb.ts";
import { DIGEST_SUBJECT } from "../proto/subjects.ts";
import type { Tell } from "./events.ts";
import type { Replica } from "./replica.ts";

export type PeerDigestsOptions = {
  readonly replicaId: string;
  readonly bus: Pick<Bus, "listen">;
  readonly clock: Clock;
  readonly verify: Keys["verify"];
  readonly replica: Replica;
  readonly tell: Tell;
};

/** Digests of one coordinator in a row that say another state than ours, and do not read on. */
export const DIFFERING_FROM = 5;
/** The next look comes after twice as many, and at the most after these. */
const DIFFERING_MAX = 80;

type Peer = {
  differing: number;
  lookAt: number;
  epoch: bigint;
  n: bigint;
  /** How far this coordinator had read when the first of those came. */
  fromSeq: number;
};
const UNHEARD: Peer = { differing: 0, lookAt: DIFFERING_FROM, epoch: -1n, n: -1n, fromSeq: 0 };

/**
 * Compares this coordinator's state with the others'.
 *
 * A stream that lost its end and went on may hold less than a coordinator believes that it wrote there: that it
 * was rolled back shows only in a number that is given out twice, and who was away then did not see it. Another coordinator
 * which never had the record is then content with the stream, and nodes with whichever of the two they agree
 * with. So who differs for long reads all of the stream again, and writes what it lacks.
 *
 * Such a stream may also end before what a coordinator has read of the one before. What is stored there next
 * has a number that this one has passed, and where it hears no copy of that it takes the others for slow. Who is
 * slow comes to where this one was; who does not has nothing left to read.
 */
export class PeerDigests {
  readonly #options: PeerDigestsOptions;
  readonly #peers = new Map<string, Peer>();
  #stop: () => void = () => undefined;

  constructor(options: PeerDigestsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#stop = this.#options.bus.listen(DIGEST_SUBJECT, ({ bytes }) => this.#heard(bytes));
  }

  stop(): void {
    this.#stop();
  }

  #heard(bytes: Uint8Array): void {
    const { replica, clock, verify, replicaId, tell } = this.#options;
    const sealed = openSealed("beat", bytes, coordinatorKey(replica.trust, clock.nowMs()), verify);
    const beat = sealed && read(sealed.payload);
    if (!sealed || !beat || beat.from === replicaId) return;
    // By its key: what it calls itself is its own affair, and this must not grow.
    const peer = this.#peers.get(sealed.kid) ?? { ...UNHEARD };
    this.#peers.set(sealed.kid, peer);
    // Whoever carries digests may say an old one again, and the whole stream is not read for that.
    if (beat.epoch < peer.epoch || (beat.epoch === peer.epoch && beat.n <= peer.n)) return;
    Object.assign(peer, { epoch: beat.epoch, n: beat.n });
    const seq = Number(beat.lastSeq);
    // This one has that to read first.
    if (seq > replica.lastSeq) return;
    if (Buffer.compare(beat.stateHash, replica.state.hash()) === 0) {
      Object.assign(peer, { differing: 0, lookAt: DIFFERING_FROM });
      return;
    }
    const readsOn = seq < replica.lastSeq && seq >= peer.fromSeq;
    if (peer.differing === 0 || readsOn) {
      Object.assign(peer, { differing: 1, fromSeq: replica.lastSeq });
    } else peer.differing += 1;
    if (peer.differing < peer.lookAt) return;
    tell("states_differ", { replica: beat.from, last_seq: replica.lastSeq });
    Object.assign(peer, { differing: 0, lookAt: Math.min(DIFFERING_MAX, 2 * peer.lookAt) });
    replica.repair({ fromStart: true });
  }
}

function read(payload: Uint8Array): Beat | undefined {
  try {
    return fromBinary(BeatSchema, payload);
  } catch {
    return undefined;
  }
}
