import { create, toBinary } from "@bufbuild/protobuf";
import type { MeshRecord } from "../../mesh/record.ts";
import { seal } from "../../mesh/sealed.ts";
import type { Signer } from "../../ports/keys.ts";
import { AckSchema } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import type { HostStall, StallWindow } from "./host-stall.ts";

/** Refusals of one second that are answered; what comes beyond is refused in silence. */
export const REFUSAL_ACKS_PER_SECOND = 20;

/** What this node has done about a scope's current record. Monotonic nanoseconds. */
type Progress = {
  readonly record: MeshRecord;
  /** `undefined` for a record that was in force before this process started. */
  readonly receivedNs: bigint | undefined;
  readonly enforcedNs: bigint;
  gatedNs: bigint;
  closedNs: bigint;
  durableNs: bigint;
  closedCount: number;
  isClosed: boolean;
  isDurable: boolean;
  readonly stall: StallWindow | undefined;
};

export type AckBookDeps = {
  readonly node: string;
  readonly bootId: string;
  readonly signer: Signer;
  readonly stall: HostStall;
  readonly send: (ack: Uint8Array) => void;
};

/**
 * Tells the mesh what is in force here.
 *
 * A1. An ack says `enforced` only after the cells were stored, `durable` only after the record was on
 *     disk, `closed` only after every loop has said so.
 * A2. Each ack holds everything known so far, so any of them may be lost, doubled or late.
 */
export class AckBook {
  readonly #deps: AckBookDeps;
  readonly #progress = new Map<string, Progress>();
  #refusalsInSecond = 0;
  #refusalSecond = 0n;

  constructor(deps: AckBookDeps) {
    this.#deps = deps;
  }

  /** The record is in force as of `enforcedNs`; says so. */
  enforced(
    record: MeshRecord,
    at: {
      readonly receivedNs: bigint;
      readonly enforcedNs: bigint;
      readonly gatedNs: bigint;
      readonly stall: StallWindow;
      /** False: the record ends something, and the loops have yet to say that it has ended. */
      readonly isClosed: boolean;
    },
  ): void {
    const progress: Progress = {
      record,
      ...at,
      closedNs: 0n,
      durableNs: 0n,
      closedCount: 0,
      isDurable: false,
    };
    this.#progress.set(record.scope, progress);
    this.#send(progress);
  }

  /** A record from before this process started, or one of a bulk repair: told when asked again. */
  assume(record: MeshRecord, isDurable: boolean): void {
    this.#progress.set(record.scope, {
      record,
      receivedNs: undefined,
      enforcedNs: 0n,
      gatedNs: 0n,
      closedNs: 0n,
      durableNs: 0n,
      closedCount: 0,
      isClosed: true,
      isDurable,
      stall: undefined,
    });
  }

  /** The record is on disk. */
  durable(record: MeshRecord, atNs: bigint): void {
    const progress = this.#of(record);
    if (!progress || progress.isDurable) return;
    progress.isDurable = true;
    progress.durableNs = atNs;
    this.#send(progress);
  }

  /** The kernel gate has it. Told with whatever is told next, or by itself when nothing else is left. */
  gated(record: MeshRecord, atNs: bigint): void {
    const progress = this.#of(record);
    if (progress?.gatedNs !== 0n) return;
    progress.gatedNs = atNs;
    if (progress.isClosed && progress.isDurable) this.#send(progress);
  }

  /** Every loop has closed what the kill covers. */
  closed(record: MeshRecord, count: number, atNs: bigint): void {
    const progress = this.#of(record);
    if (!progress || progress.isClosed) return;
    progress.isClosed = true;
    progress.closedNs = atNs;
    progress.closedCount = count;
    this.#send(progress);
  }

  /** The record came again: says again how far it is. */
  repeat(record: MeshRecord): void {
    const progress = this.#of(record);
    if (progress) this.#send(progress, true);
  }

  /** The record is not in force here, and why. */
  refused(record: MeshRecord, reason: string, nowNs: bigint): void {
    const second = nowNs / 1_000_000_000n;
    if (second !== this.#refusalSecond) this.#refusalsInSecond = 0;
    this.#refusalSecond = second;
    this.#refusalsInSecond += 1;
    if (this.#refusalsInSecond > REFUSAL_ACKS_PER_SECOND) return;
    const { node, bootId, signer, send } = this.#deps;
    const ack = create(AckSchema, { node, bootId, ...namesOf(record), refused: reason });
    send(seal("ack", toBinary(AckSchema, ack), signer));
  }

  #of(record: MeshRecord): Progress | undefined {
    const progress = this.#progress.get(record.scope);
    return progress?.record.hashHex === record.hashHex ? progress : undefined;
  }

  #send(progress: Progress, isRepeat = false): void {
    const { node, bootId, signer, stall, send } = this.#deps;
    // What was merged without an ack of its own is told by heartbeats until somebody asks.
    if (progress.receivedNs === undefined && !isRepeat) return;
    const after = (atNs: bigint): bigint => sinceNs(progress.receivedNs, atNs);
    const ack = create(AckSchema, {
      node,
      bootId,
      ...namesOf(progress.record),
      enforcedNs: after(progress.enforcedNs),
      gatedNs: after(progress.gatedNs),
      closedNs: after(progress.closedNs),
      durableNs: after(progress.durableNs),
      closedCount: progress.closedCount,
      closed: progress.isClosed,
      durable: progress.isDurable,
      hostStallNs: progress.stall ? stall.longestNs(progress.stall) : 0n,
    });
    send(seal("ack", toBinary(AckSchema, ack), signer));
  }
}

function namesOf({ scope, v, hash, cmdId }: MeshRecord) {
  return { scope, v: BigInt(v), recordHash: hash, cmdId };
}

/** 0 for what has not happened yet. */
function sinceNs(receivedNs: bigint | undefined, atNs: bigint): bigint {
  if (receivedNs === undefined || atNs === 0n) return 0n;
  return atNs > receivedNs ? atNs - receivedNs : 1n;
}
