import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { MeshRecord } from "../../mesh/record.ts";
import { seal } from "../../mesh/sealed.ts";
import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Signer } from "../../ports/keys.ts";
import { type Ack, AckSchema } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import type { HostStall, StallWindow } from "./host-stall.ts";

/** Refusals of one second that are answered; what comes beyond is refused in silence. */
export const REFUSAL_ACKS_PER_SECOND = 20;
/** What becomes true within so long of the first news is told in one message. */
export const ACK_WINDOW_MS = 5;
/** So long the first ack of a record waits for a disk that is slower. */
export const DISK_WAIT_NS = 25_000_000n;
/**
 * And for so many looks, each in a turn of its own: a thread that was held up for all of that time has not been
 * told yet of what the disk did meanwhile.
 */
export const DISK_LOOKS_MIN = 5;
/** A thread that is held up for longer tells what it knows: by then a heartbeat is near, which tells it too. */
export const DISK_WAIT_NS_MAX = 1_000_000_000n;
/** Acks of one message: some 20 KB at the longest scopes. */
export const ACKS_PER_MESSAGE_MAX = 64;
/** A kill that comes again sooner than this after its ack met that ack on the way. */
export const REPEAT_AFTER_NS = 1_000_000_000n;

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
  sweptNs: bigint;
  sweptCount: number;
  isClosed: boolean;
  isDurable: boolean;
  readonly stall: StallWindow | undefined;
  /** When it was last told; `undefined` for never. */
  toldNs: bigint | undefined;
  /** Since when there is something to tell. */
  dueNs: bigint;
  /** How often it was not told since, for want of the disk. */
  looks: number;
};

type Words = Omit<MessageInitShape<typeof AckSchema>, "$typeName">;

export type AckBookDeps = {
  readonly node: string;
  readonly bootId: string;
  readonly clock: Clock;
  readonly signer: Signer;
  readonly stall: HostStall;
  readonly send: (ack: Uint8Array) => void;
};

/**
 * Tells the mesh what is in force here.
 *
 * A1. An ack says `enforced` only after the cells were stored, `durable` only after the record was on
 *     disk, `closed` only after every loop has said so, or whoever keeps persons' keys.
 * A2. Each ack holds everything known so far, so any of them may be lost, doubled or late.
 * A3. News wait a few milliseconds for one another, and somewhat longer for the disk, so that a kill costs
 *     the mesh one message of each node. Nothing waits for an ack but what people see of the kill; in
 *     force it is before.
 * A4. Of what was told only once, heartbeats say how it stands: that all is closed is said from when every
 *     loop has said so of every kill, and not from a kill's first moment on.
 */
export class AckBook {
  readonly #deps: AckBookDeps;
  readonly #progress = new Map<string, Progress>();
  readonly #due = new Set<Progress>();
  /** Kills and redactions that have not ended all they cover: the record's hash by its scope. */
  readonly #closing = new Map<string, string>();
  readonly #refusals: Words[] = [];
  #cancel: Cancel | undefined;
  #refusalsInSecond = 0;
  #refusalSecond = 0n;

  constructor(deps: AckBookDeps) {
    this.#deps = deps;
  }

  /** Whether every kill in force has ended what it covers, and every redaction. */
  get isAllClosed(): boolean {
    return this.#closing.size === 0;
  }

  /** The record is its scope's current one from here on, in the turn in which it became so (A4). */
  begun({ scope, hashHex }: MeshRecord, isClosing: boolean): void {
    if (isClosing) this.#closing.set(scope, hashHex);
    else this.#closing.delete(scope);
  }

  /** The record is no part of the state any more. */
  forget({ scope }: MeshRecord): void {
    const progress = this.#progress.get(scope);
    if (progress) this.#due.delete(progress);
    this.#progress.delete(scope);
    this.#closing.delete(scope);
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
      sweptNs: 0n,
      sweptCount: 0,
      isDurable: false,
      toldNs: undefined,
      dueNs: 0n,
      looks: 0,
    };
    this.#progress.set(record.scope, progress);
    this.#tellSoon(progress);
  }

  /** A record from before this process started, or one of a bulk repair: told when asked again. */
  assume(
    record: MeshRecord,
    { isDurable, isClosed }: { readonly isDurable: boolean; readonly isClosed: boolean },
  ): void {
    this.#progress.set(record.scope, {
      record,
      receivedNs: undefined,
      enforcedNs: 0n,
      gatedNs: 0n,
      closedNs: 0n,
      durableNs: 0n,
      closedCount: 0,
      sweptNs: 0n,
      sweptCount: 0,
      isClosed,
      isDurable,
      stall: undefined,
      toldNs: undefined,
      dueNs: 0n,
      looks: 0,
    });
  }

  /** The record is on disk. */
  durable(record: MeshRecord, atNs: bigint): void {
    const progress = this.#of(record);
    if (!progress || progress.isDurable) return;
    progress.isDurable = true;
    progress.durableNs = atNs;
    this.#news(progress);
  }

  /** The kernel gate has it. Told with whatever is told next, or by itself when nothing else is left. */
  gated(record: MeshRecord, atNs: bigint): void {
    const progress = this.#of(record);
    if (progress?.gatedNs !== 0n) return;
    progress.gatedNs = atNs;
    if (progress.isClosed && progress.isDurable) this.#news(progress);
  }

  /**
   * The kernel has looked for sockets that lead to the killed, and ended so many. That there were none is told
   * with whatever is told next, or by itself when nothing else is left.
   */
  swept(record: MeshRecord, count: number, atNs: bigint): void {
    const progress = this.#of(record);
    if (!progress || (progress.sweptNs > 0n && count === 0)) return;
    progress.sweptNs = atNs;
    progress.sweptCount += count;
    if (count > 0 || (progress.isClosed && progress.isDurable)) this.#news(progress);
  }

  /** Every loop has closed what the kill covers, or so many keys that the redaction names are erased. */
  closed(record: MeshRecord, count: number, atNs: bigint): void {
    if (this.#closing.get(record.scope) === record.hashHex) this.#closing.delete(record.scope);
    const progress = this.#of(record);
    if (!progress || progress.isClosed) return;
    progress.isClosed = true;
    progress.closedNs = atNs;
    progress.closedCount = count;
    this.#news(progress);
  }

  /**
   * The record came again: says again how far it is.
   *
   * @param isCommitted It is the stream's copy, which everybody gets once and which asks for nothing: only
   *   what was never told is told then. On the fast path somebody says it who may not have heard.
   */
  repeat(record: MeshRecord, isCommitted: boolean): void {
    const progress = this.#of(record);
    if (!progress) return;
    const { toldNs } = progress;
    const isQuiet =
      toldNs !== undefined && (isCommitted || this.#deps.clock.monoNs() - toldNs < REPEAT_AFTER_NS);
    if (!isQuiet) this.#tellSoon(progress);
  }

  /** The record is not in force here, and why. */
  refused(record: MeshRecord, reason: string, nowNs: bigint): void {
    const second = nowNs / 1_000_000_000n;
    if (second !== this.#refusalSecond) this.#refusalsInSecond = 0;
    this.#refusalSecond = second;
    this.#refusalsInSecond += 1;
    if (this.#refusalsInSecond > REFUSAL_ACKS_PER_SECOND) return;
    this.#refusals.push({ ...namesOf(record), refused: reason });
    this.#arm();
  }

  /** Tells everything that waits, now. */
  close(): void {
    this.#cancel?.();
    while (this.#tellSome(() => true));
  }

  #of(record: MeshRecord): Progress | undefined {
    const progress = this.#progress.get(record.scope);
    return progress?.record.hashHex === record.hashHex ? progress : undefined;
  }

  /** What was merged without an ack of its own is told by heartbeats until somebody asks. */
  #news(progress: Progress): void {
    if (progress.receivedNs !== undefined) this.#tellSoon(progress);
  }

  #tellSoon(progress: Progress): void {
    if (!this.#due.has(progress)) {
      progress.dueNs = this.#deps.clock.monoNs();
      progress.looks = 0;
    }
    this.#due.add(progress);
    this.#arm();
  }

  #arm(delayMs = ACK_WINDOW_MS): void {
    this.#cancel ??= this.#deps.clock.after(delayMs, () => {
      this.#cancel = undefined;
      const nowNs = this.#deps.clock.monoNs();
      const isReady = (progress: Progress): boolean =>
        progress.isDurable || hasWaited(progress, nowNs);
      // One message a turn: after a burst of kills the thread stays free for the next one.
      if (this.#tellSome(isReady)) this.#arm(0);
      else if (this.#due.size > 0) this.#arm();
    });
  }

  /** Sends one message of what waits and is ready. Returns whether more is. */
  #tellSome(isReady: (progress: Progress) => boolean): boolean {
    const nowNs = this.#deps.clock.monoNs();
    const words = this.#refusals.splice(0, ACKS_PER_MESSAGE_MAX);
    let isMore = this.#refusals.length > 0;
    for (const progress of this.#due) {
      if (!isReady(progress)) continue;
      isMore = words.length === ACKS_PER_MESSAGE_MAX;
      if (isMore) break;
      this.#due.delete(progress);
      progress.toldNs = nowNs;
      words.push(this.#wordsOf(progress));
    }
    if (words.length > 0) this.#send(words);
    return isMore;
  }

  /** One signature for all: the first ack brings the others. */
  #send([first, ...also]: readonly Words[]): void {
    const { node, bootId, signer, send } = this.#deps;
    const own = (words: Words): Ack => create(AckSchema, { ...words, node, bootId });
    const ack = create(AckSchema, { ...first, node, bootId, also: also.map(own) });
    send(seal("ack", toBinary(AckSchema, ack), signer));
  }

  #wordsOf(progress: Progress): Words {
    const { stall } = this.#deps;
    const after = (atNs: bigint): bigint => sinceNs(progress.receivedNs, atNs);
    return {
      ...namesOf(progress.record),
      enforcedNs: after(progress.enforcedNs),
      gatedNs: after(progress.gatedNs),
      closedNs: after(progress.closedNs),
      durableNs: after(progress.durableNs),
      closedCount: progress.closedCount,
      sweptNs: after(progress.sweptNs),
      sweptCount: progress.sweptCount,
      closed: progress.isClosed,
      durable: progress.isDurable,
      hostStallNs: progress.stall ? stall.longestNs(progress.stall) : 0n,
    };
  }
}

/** Looks once more whether the disk was waited for long enough. */
function hasWaited(progress: Progress, nowNs: bigint): boolean {
  progress.looks += 1;
  const waitedNs = nowNs - progress.dueNs;
  if (waitedNs >= DISK_WAIT_NS_MAX) return true;
  return waitedNs >= DISK_WAIT_NS && progress.looks >= DISK_LOOKS_MIN;
}

function namesOf({ scope, v, hash, cmdId }: MeshRecord) {
  return { scope, v: BigInt(v), recordHash: hash, cmdId };
}

/** 0 for what has not happened yet. */
function sinceNs(receivedNs: bigint | undefined, atNs: bigint): bigint {
  if (receivedNs === undefined || atNs === 0n) return 0n;
  return atNs > receivedNs ? atNs - receivedNs : 1n;
}
