// The nodes of the mesh: who is alive, what each has acknowledged, and by when a silent one is closed.
//
// N1. A node is one that is enrolled and not removed; nothing else is counted, and nothing less.
// N2. An ack or heartbeat counts only under that node's own signature, and says nothing of others. The
//     signature of one that adds nothing to what is known is not looked at: a thousand nodes repeat themselves.
// N3. A silent node counts as contained only after its dead-man switch must have closed it: twice its
//     time after it was last heard, and never before all digests have carried the command for that
//     long, because a node may hear us while we do not hear it.

import { fromBinary } from "@bufbuild/protobuf";
import { openSealed, type SealDomain } from "../mesh/sealed.ts";
import { nodeKeyOf } from "../mesh/trust.ts";
import type { Bus, BusMessage } from "../ports/bus.ts";
import { type Clock, monoMs } from "../ports/clock.ts";
import type { Keys } from "../ports/keys.ts";
import { type Ack, AckSchema, type Beat, BeatSchema } from "../proto/gen/altrace/v1/mesh_pb.ts";
import { parseScope } from "../proto/ids.ts";
import { ACK_PATTERN, HEARTBEAT_PATTERN } from "../proto/subjects.ts";
import { type AckBook, isOf, isOfRecord } from "./ack-book.ts";
import { BROADCAST_FOR_MS, fastSubject } from "./broadcast.ts";
import type { Command } from "./command.ts";
import type { Tell } from "./events.ts";
import { type NodeWatch, takeBeat, watchNode } from "./node-watch.ts";
import type { Replica } from "./replica.ts";

export type RegistryOptions = {
  readonly replica: Replica;
  readonly acks: AckBook;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly verify: Keys["verify"];
  readonly tell: Tell;
  /** T: a node without an entitling digest for so long is closed. */
  readonly deadManMs: number;
  /** Added to every containment. */
  readonly containmentMarginMs: number;
  /** A node not heard for so long is silent. */
  readonly silentAfterMs: number;
  readonly command: (cmdId: string) => Command | undefined;
  /** A node has said for the first time that it enforces a command's record, or refuses it. */
  readonly onAnswer: (cmdId: string) => void;
  /** A node has said for the first time that a command is in force there: seconds after its start. */
  readonly onEnforced: (seconds: number) => void;
};

/** How far one node is with one command. */
export type NodeProgress = {
  readonly node: string;
  readonly ack: ReturnType<AckBook["get"]>;
  readonly isLive: boolean;
  /** Wall clock, ms since the Unix epoch, by which a silent node is closed; 0 for a live one. */
  readonly containedAtMs: number;
  readonly isContained: boolean;
};

/** One line of an operator's list of nodes. */
export type NodeStatus = {
  readonly node: string;
  readonly isLive: boolean;
  readonly beat: Beat | undefined;
  readonly heardAgoMs: number;
  readonly isInSync: boolean;
  /** Wall clock, ms since the Unix epoch, by which a silent node is closed; 0 for a live one. */
  readonly containedAtMs: number;
};

/** Acks that are read of one message, twice what nodes send. */
const ACKS_PER_MESSAGE_MAX = 128;
/** So long a command is looked at for every heartbeat, done or not. */
const ACTIVE_MS_MIN = 60_000;

export class Registry {
  readonly #options: RegistryOptions;
  readonly #watches = new Map<string, NodeWatch>();
  /** When each command was first carried by a digest, monotonic ms. */
  readonly #inForceMs = new Map<string, number>();
  /** Commands that some node may still have to acknowledge. */
  readonly #active = new Set<string>();
  /** Nodes of which nothing more is to be heard of a command: there are many heartbeats, and many commands in a storm. */
  readonly #said = new Map<string, Set<string>>();
  readonly #onProgress = new Map<string, Set<() => void>>();
  readonly #stops: (() => void)[] = [];
  #onBegun: () => void = () => undefined;

  constructor(options: RegistryOptions) {
    this.#options = options;
    for (const node of options.replica.trust.nodeIds()) this.#watch(node);
    options.replica.onRecord((record) => {
      if (record.parsed.kind !== "node") return;
      const { id } = record.parsed;
      if (options.replica.trust.nodeKey(id)) this.#watch(id);
      else this.#watches.delete(id);
    });
  }

  /** Calls `fn` when a node is heard for the first time since it began, or since this coordinator did. */
  onBegun(fn: () => void): void {
    this.#onBegun = fn;
  }

  start(): void {
    const { bus } = this.#options;
    this.#stops.push(
      bus.listen(ACK_PATTERN, (message) => this.#onAck(message)),
      bus.listen(HEARTBEAT_PATTERN, (message) => this.#onBeat(message)),
    );
  }

  stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }

  /** Nodes that are heard now. At least 1, so that a share of something is never the whole twice. */
  get liveCount(): number {
    let count = 0;
    for (const watch of this.#watches.values()) if (this.#isLive(watch)) count += 1;
    return Math.max(1, count);
  }

  /** The command is in our state, and so in every digest from now on. */
  noteInForce(command: Command): void {
    if (!this.#inForceMs.has(command.cmdId)) {
      this.#inForceMs.set(command.cmdId, monoMs(this.#options.clock));
    }
    this.#active.add(command.cmdId);
    // It may have been signed again.
    this.#said.delete(command.cmdId);
    this.progressed(command.cmdId);
  }

  /** The command is no longer remembered. */
  forget(cmdId: string): void {
    this.#inForceMs.delete(cmdId);
    this.#leave(cmdId);
    this.#options.acks.forget(cmdId);
  }

  /** Whether a live node has not said yet that it enforces this command. */
  isAwaited(command: Command): boolean {
    return [...this.#watches.values()].some((watch) => {
      const ack = this.#options.acks.get(command.cmdId, watch.node);
      return this.#isLive(watch) && !isOf(command, ack);
    });
  }

  /** Every node's progress with a command, by name. */
  progress(command: Command): readonly NodeProgress[] {
    const { acks, clock } = this.#options;
    const nowMs = monoMs(clock);
    return this.#sorted().map((watch) => {
      const { node } = watch;
      const isLive = this.#isLive(watch);
      // Who is silent lets nothing through, and keeps what it has: keys are erased only by whoever comes back.
      const isEver = command.op !== "redact";
      const atMs = isEver ? this.#containedAtMs(watch, command) : Number.POSITIVE_INFINITY;
      return {
        node,
        ack: acks.get(command.cmdId, node),
        isLive,
        containedAtMs: isLive ? 0 : this.#wallMs(atMs),
        isContained: !isLive && nowMs >= atMs,
      };
    });
  }

  /** Whether every node is durable and closed, or contained where that will do. */
  isDone(command: Command): boolean {
    const isAccepted = command.committed || (command.kind === "kill" && command.accepted);
    const closes = (command.op === "kill" || command.op === "redact") && this.#isCurrent(command);
    return (
      isAccepted &&
      this.progress(command).every(({ ack, isContained }) => {
        const isDurable = isOf(command, ack) && ack?.durable === true;
        return isContained || (isDurable && (!closes || ack?.closed === true));
      })
    );
  }

  /** Looks no more at commands that are done: heartbeats are many, and so are old commands. */
  sweep(): void {
    const beforeMs = monoMs(this.#options.clock) - ACTIVE_MS_MIN;
    for (const cmdId of this.#active) {
      const command = this.#options.command(cmdId);
      const isOld = (this.#inForceMs.get(cmdId) ?? 0) < beforeMs;
      if (!command || (isOld && this.isDone(command))) this.#leave(cmdId);
    }
    // One that was forgotten in the moment of its commit was noted after that.
    for (const cmdId of this.#inForceMs.keys()) {
      if (!this.#options.command(cmdId)) this.#inForceMs.delete(cmdId);
    }
  }

  #leave(cmdId: string): void {
    this.#active.delete(cmdId);
    this.#said.delete(cmdId);
  }

  /** Calls `fn` when something about the command may have changed. */
  onProgress(cmdId: string, fn: () => void): () => void {
    const listeners = this.#onProgress.get(cmdId) ?? new Set();
    this.#onProgress.set(cmdId, listeners.add(fn));
    return () => {
      listeners.delete(fn);
      if (listeners.size === 0) this.#onProgress.delete(cmdId);
    };
  }

  nodes(): readonly NodeStatus[] {
    const { clock } = this.#options;
    return this.#sorted().map((watch) => {
      const isLive = this.#isLive(watch);
      return {
        node: watch.node,
        isLive,
        beat: watch.beat,
        heardAgoMs: Math.max(0, Math.round(monoMs(clock) - watch.heardMs)),
        isInSync: watch.beat !== undefined && this.#isOurs(watch.beat.stateHash),
        containedAtMs: isLive ? 0 : this.#wallMs(this.#containedAtMs(watch, undefined)),
      };
    });
  }

  /** False: that boot of the node has ended, so what it asks for would be spent by nobody. */
  isCurrentBoot(node: string, bootId: string): boolean {
    return !this.#watches.get(node)?.endedBoots.includes(bootId);
  }

  #onAck(message: BusMessage): void {
    const opened = this.#opened("ack", message, (payload, node) => {
      const acks = acksIn(payload);
      return acks?.some((ack) => this.#isNews(ack, node)) === false ? undefined : (acks ?? []);
    });
    if (!opened) return;
    const taken = opened.content.map((ack) => this.#takeAck(ack, opened.node));
    if (taken.length === 0 || taken.includes(false)) {
      this.#options.tell("ack_refused", { subject: message.subject });
    }
  }

  /** False for what is known of the node already, if it was the node that said it. */
  #isNews(ack: Ack, node: string): boolean {
    const command = this.#options.command(ack.cmdId);
    if (!command || ack.node !== node || command.scope !== ack.scope) return true;
    return isOfRecord(command, ack) && this.#options.acks.adds(command, ack);
  }

  /** False: it speaks for another node, or of another scope than the command's. */
  #takeAck(ack: Ack, node: string): boolean {
    const command = this.#options.command(ack.cmdId);
    if (ack.node !== node || (command && command.scope !== ack.scope)) return false;
    // Acks of what we do not remember, and of a record that was signed again since, say nothing.
    if (!command || !isOfRecord(command, ack)) return true;
    const isFirst = !isOf(command, this.#options.acks.get(command.cmdId, node));
    if (!this.#options.acks.take(command, ack)) return true;
    // What it adds later to its first word is no sign that others have heard the kill.
    if (isFirst) this.#options.onAnswer(command.cmdId);
    const inForceMs = this.#inForceMs.get(command.cmdId);
    if (isFirst && inForceMs !== undefined) {
      this.#options.onEnforced((monoMs(this.#options.clock) - inForceMs) / 1_000);
    }
    this.progressed(command.cmdId);
    return true;
  }

  #onBeat(message: BusMessage): void {
    const opened = this.#opened("beat", message, (payload) => payload);
    if (!opened) return;
    const beat = decode(() => fromBinary(BeatSchema, opened.content));
    const watch = this.#watches.get(opened.node);
    if (!watch || beat?.from !== opened.node || beat.bootId === "") {
      this.#options.tell("beat_refused", { subject: message.subject });
      return;
    }
    const { clock } = this.#options;
    const now = { monoMs: monoMs(clock), wallMs: clock.nowMs(), isSilent: !this.#isLive(watch) };
    const bootBefore = watch.beat?.bootId;
    if (!takeBeat(watch, beat, now)) return;
    if (beat.bootId !== bootBefore) this.#onBegun();
    if (this.#isOurs(beat.stateHash)) this.#acknowledgeAll(watch);
  }

  /** The node's state is ours, so everything that is in it is in force there. */
  #acknowledgeAll({ node, beat }: NodeWatch): void {
    const { acks, command: find, replica } = this.#options;
    const isDurable = this.#isOurs(beat?.durableStateHash ?? new Uint8Array(0));
    for (const cmdId of this.#active) {
      if (this.#said.get(cmdId)?.has(node)) continue;
      const command = find(cmdId);
      const current = command && replica.state.get(command.scope);
      if (!command || !current || command.v > current.v) continue;
      const isCurrent = this.#isCurrent(command);
      const isClosed = beat?.closed === true && isCurrent;
      const said = { bootId: beat?.bootId ?? "", isDurable, isClosed };
      if (acks.assume(command, node, said)) this.progressed(cmdId);
      const ack = acks.get(cmdId, node);
      const isAll = isOf(command, ack) && ack?.durable && (ack.closed || !isCurrent);
      if (isAll) this.#said.set(cmdId, (this.#said.get(cmdId) ?? new Set()).add(node));
      else this.#askAgain(command, node);
    }
  }

  /** A kill that nobody says any more, of which the node never said that it closed: say it again. */
  #askAgain(command: Command, node: string): void {
    const { acks, bus, clock, replica } = this.#options;
    if (command.op !== "kill" || !this.#isCurrent(command)) return;
    const ack = acks.get(command.cmdId, node);
    if (isOf(command, ack) && ack?.closed) return;
    const sinceMs = monoMs(clock) - (this.#inForceMs.get(command.cmdId) ?? 0);
    const scope = parseScope(command.scope);
    const record = replica.state.get(command.scope);
    if (sinceMs > BROADCAST_FOR_MS && scope && record) bus.send(fastSubject(scope), record.bytes);
  }

  /** @param read What is worth a look at the signature; `undefined` for nothing. */
  #opened<T>(
    domain: SealDomain,
    message: BusMessage,
    read: (payload: Uint8Array, node: string) => T | undefined,
  ): { readonly node: string; readonly content: T } | undefined {
    const { replica, clock, verify, tell } = this.#options;
    const node = message.subject.slice(message.subject.lastIndexOf(".") + 1);
    const keyOf = nodeKeyOf(replica.trust, node, clock.nowMs());
    const found: { content?: T | undefined; isNothing?: boolean } = {};
    const lookup = (kid: string, payload: Uint8Array): Uint8Array | undefined => {
      found.content = read(payload, node);
      found.isNothing = found.content === undefined;
      return found.isNothing ? undefined : keyOf(kid);
    };
    const opened = openSealed(domain, message.bytes, lookup, verify);
    if (opened && found.content !== undefined) return { node, content: found.content };
    if (found.isNothing) return undefined;
    // A node that is about to enrol beats before it counts, and that is nobody's fault.
    const isKnown = replica.trust.nodeKey(node) !== undefined;
    if (isKnown)
      tell(domain === "ack" ? "ack_refused" : "beat_refused", { subject: message.subject });
    return undefined;
  }

  #watch(node: string): void {
    if (this.#watches.has(node)) return;
    const { clock } = this.#options;
    this.#watches.set(node, watchNode(node, { monoMs: monoMs(clock), wallMs: clock.nowMs() }));
  }

  #sorted(): NodeWatch[] {
    return [...this.#watches.values()].sort((left, right) => (left.node < right.node ? -1 : 1));
  }

  #isLive(watch: NodeWatch): boolean {
    const { clock, silentAfterMs } = this.#options;
    return watch.beat !== undefined && monoMs(clock) - watch.heardMs <= silentAfterMs;
  }

  #containedAtMs(watch: NodeWatch, command: Command | undefined): number {
    const { deadManMs, containmentMarginMs } = this.#options;
    const unheardMs = watch.heardMs + 2 * deadManMs + containmentMarginMs;
    if (!command) return unheardMs;
    const inForceMs = this.#inForceMs.get(command.cmdId);
    // A record that is in no digest yet contains nobody.
    if (inForceMs === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(unheardMs, inForceMs + deadManMs + containmentMarginMs);
  }

  #wallMs(atMonoMs: number): number {
    if (!Number.isFinite(atMonoMs)) return 0;
    const { clock } = this.#options;
    return Math.ceil(clock.nowMs() + atMonoMs - monoMs(clock));
  }

  #isCurrent(command: Command): boolean {
    return this.#options.replica.state.get(command.scope)?.cmdId === command.cmdId;
  }

  #isOurs(stateHash: Uint8Array): boolean {
    return Buffer.compare(stateHash, this.#options.replica.state.hash()) === 0;
  }

  /** Something about the command may have changed. */
  progressed(cmdId: string): void {
    for (const fn of this.#onProgress.get(cmdId) ?? []) fn();
  }
}

/** All acks of one message: the first, and those that came with it. */
function acksIn(payload: Uint8Array): readonly Ack[] | undefined {
  const first = decode(() => fromBinary(AckSchema, payload));
  if (!first || first.also.length >= ACKS_PER_MESSAGE_MAX) return undefined;
  const { also } = first;
  // Whoever nests them would have us work for nothing.
  if (also.some((ack) => ack.also.length > 0)) return undefined;
  return [{ ...first, also: [] }, ...also];
}

function decode<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
