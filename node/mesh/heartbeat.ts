import { create, toBinary } from "@bufbuild/protobuf";
import { seal } from "../../mesh/sealed.ts";
import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Signer } from "../../ports/keys.ts";
import type { Random } from "../../ports/random.ts";
import { BeatSchema } from "../../proto/gen/altrace/v1/mesh_pb.ts";
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
  readonly send: (beat: Uint8Array) => void;
};

/**
 * Tells the coordinators that this node lives and what it has merged: an acknowledgement of everything
 * at once, which makes lost single ones good.
 */
export class Heartbeat {
  readonly #deps: HeartbeatDeps;
  #n = 0n;
  #saidNs = 0n;
  #counts: Counts = { agents: 0, connections: 0, policy: NO_POLICY };
  #cancel: Cancel | undefined;
  #isClosed = false;

  constructor(deps: HeartbeatDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.beat();
    this.#arm();
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
    if (this.#isClosed) return;
    const { node, bootId, clock, signer, pulse, send } = this.#deps;
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
    send(seal("beat", toBinary(BeatSchema, beat), signer));
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
  }

  #arm(): void {
    const { clock, everyMs, random } = this.#deps;
    // Up to a tenth earlier, so that nodes that started together do not stay together.
    const [draw = 0] = random.bytes(1);
    this.#cancel = clock.after(everyMs * (1 - draw / 2560), () => {
      // One that was out of turn, as after a connection, is as good: nobody is told twice in half a period.
      const sinceNs = clock.monoNs() - this.#saidNs;
      if (sinceNs * 2n >= BigInt(Math.round(everyMs)) * 1_000_000n) this.beat();
      this.#arm();
    });
  }
}
