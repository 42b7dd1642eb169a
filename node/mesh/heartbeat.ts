import { create, toBinary } from "@bufbuild/protobuf";
import { seal } from "../../mesh/sealed.ts";
import type { Bus } from "../../ports/bus.ts";
import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Signer } from "../../ports/keys.ts";
import type { Random } from "../../ports/random.ts";
import { BeatSchema } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import { heartbeatSubject } from "../../proto/subjects.ts";
import type { PolicyWord } from "../thread-messages.ts";

/** Before any policy was offered. */
const NO_POLICY: PolicyWord = { version: 0, refusedVersion: 0, refused: "" };

/** What a heartbeat says of the node at this instant. */
export type Pulse = {
  readonly lastSeq: number;
  readonly stateHash: Uint8Array;
  readonly durableStateHash: Uint8Array;
  /** Every kill in the state has ended what it covers here. */
  readonly closed: boolean;
  readonly open: boolean;
};

/** What the control thread says of the node. */
export type Counts = {
  readonly agents: number;
  readonly connections: number;
  readonly policy: PolicyWord;
};

export type HeartbeatDeps = {
  readonly node: string;
  readonly bootId: string;
  readonly everyMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly signer: Signer;
  readonly pulse: () => Pulse;
  readonly bus: Pick<Bus, "isUp" | "send">;
};

/**
 * Tells the coordinators that this node lives and what it has merged: an acknowledgement of everything
 * at once, which makes lost single ones good.
 */
export class Heartbeat {
  readonly #deps: HeartbeatDeps;
  #n = 0n;
  /** When it was last said to a server; long ago at first. */
  #saidNs: bigint;
  /** Somebody waited for one, and there was no server. */
  #isOwed = false;
  #counts: Counts = { agents: 0, connections: 0, policy: NO_POLICY };
  #cancel: Cancel | undefined;
  #isClosed = false;

  constructor(deps: HeartbeatDeps) {
    this.#deps = deps;
    this.#saidNs = deps.clock.monoNs() - 2n * this.#everyNs;
  }

  start(): void {
    this.beat();
    this.#arm();
  }

  /**
   * There is a connection again. Whoever was heard lately is not missed: of a fleet that comes back each has more
   * to ask for than to say, and its regular beat follows.
   */
  connected(): void {
    const unheardNs = this.#deps.clock.monoNs() - this.#saidNs;
    if (this.#isOwed || unheardNs >= 2n * this.#everyNs) this.beat();
  }

  /** Takes in what all further beats say beside the pulse. */
  note(counts: Counts): void {
    const { version, refusedVersion } = this.#counts.policy;
    this.#counts = counts;
    const { policy } = counts;
    const isNews = policy.version !== version || policy.refusedVersion !== refusedVersion;
    // Somebody may be waiting for it, and the next beat is seconds away.
    if (isNews && this.#cancel !== undefined) this.beat();
  }

  /** One more now: something changed that the coordinators wait for. */
  beat(): void {
    this.#isOwed = !this.#deps.bus.isUp();
    this.#beat();
  }

  #beat(): void {
    const { node, bootId, clock, signer, pulse, bus } = this.#deps;
    if (this.#isClosed || !bus.isUp()) return;
    this.#n += 1n;
    this.#saidNs = clock.monoNs();
    const { lastSeq, ...rest } = pulse();
    const { agents, connections, policy } = this.#counts;
    const beat = create(BeatSchema, {
      from: node,
      bootId,
      n: this.#n,
      monoMs: clock.monoNs() / 1_000_000n,
      lastSeq: BigInt(lastSeq),
      ...rest,
      agents,
      connections,
      policyVersion: BigInt(policy.version),
      policyRefusedVersion: BigInt(policy.refusedVersion),
      policyRefused: policy.refused,
    });
    bus.send(heartbeatSubject(node), seal("beat", toBinary(BeatSchema, beat), signer));
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
  }

  get #everyNs(): bigint {
    return BigInt(Math.round(this.#deps.everyMs)) * 1_000_000n;
  }

  #arm(): void {
    const { clock, everyMs, random } = this.#deps;
    // Up to a tenth earlier, so that nodes that started together do not stay together.
    const [draw = 0] = random.bytes(1);
    this.#cancel = clock.after(everyMs * (1 - draw / 2560), () => {
      // One that was out of turn, as after a connection, is as good: nobody is told twice in half a period.
      const sinceNs = clock.monoNs() - this.#saidNs;
      if (2n * sinceNs >= this.#everyNs) this.#beat();
      this.#arm();
    });
  }
}
