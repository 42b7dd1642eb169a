import type { MeshRecord } from "../mesh/record.ts";
import type { Bus } from "../ports/bus.ts";
import type { Cancel, Clock } from "../ports/clock.ts";
import { parseScope, type Scope } from "../proto/ids.ts";
import { controlSubject, FAST_PREFIX, withPrefix } from "../proto/subjects.ts";
import type { Command } from "./command.ts";
import type { Replica } from "./replica.ts";

/** A broadcast may be lost and is small: so often it is said again, until every live node has it. */
export const BROADCAST_EVERY_MS = 75;
export const BROADCAST_FOR_MS = 30_000;
/**
 * So many periods more it waits while answers still come in: the missing ones are on their way too, and what
 * is said again is answered again. That is about a second, after which a digest tells of it anyway.
 */
export const PERIODS_WAITED_MAX = 12;
/**
 * For each so many live nodes it waits a period more, whether answers come or not, up to as many as above. To say it
 * again costs the server as much as the first time and tells only whoever has lost it; the more nodes share a server
 * and a coordinator, the later each is heard.
 */
export const NODES_PER_PERIOD = 100;
/** So long after this coordinator came back nodes come back as well: they wait for what they missed, or for a digest. */
export const RETURN_MS = 5_000;
/** Meanwhile it waits no longer than this, however many there are. */
export const RETURN_PERIODS = 5;
/** Unless so many kills are said: who lacks many of them asks for all at once. */
export const RETURN_KILLS_MAX = 8;

export type KillBroadcastsOptions = {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly replica: Replica;
  /** Whether a live node has not said that it enforces the command's record. */
  readonly isAwaited: (command: Command) => boolean;
  readonly liveNodes: () => number;
};

type Broadcast = {
  readonly command: Command;
  readonly subject: string;
  readonly bytes: Uint8Array;
  /** When it is given up, monotonic ns. */
  readonly untilNs: bigint;
  /** Periods since it was last said. */
  waited: number;
  /** Whether somebody has answered in this period who had not before. */
  isAnswered: boolean;
  cancel: Cancel;
};

/** Says kills on the fast path: at once, and then until every live node has answered. */
export class KillBroadcasts {
  readonly #options: KillBroadcastsOptions;
  readonly #broadcasts = new Map<string, Broadcast>();
  /** There was a connection before. */
  #wasUp = false;
  /** Until then nodes come back, monotonic ns. */
  #returnUntilNs = 0n;

  constructor(options: KillBroadcastsOptions) {
    this.#options = options;
  }

  /** Says a kill that was signed a moment ago, before anything is noted of it; `say` follows in the same turn. */
  sayFirst({ parsed, bytes }: MeshRecord): void {
    this.#options.bus.send(fastSubject(parsed), bytes);
  }

  /**
   * Says the command's record from now on, in place of one that it said before.
   *
   * @param isSaid It was said in this turn.
   */
  say(command: Command, { isSaid = false } = {}): void {
    const scope = parseScope(command.scope);
    const { bytes, cmdId } = command;
    if (!scope || !bytes) return;
    this.forget(cmdId);
    if (!this.#isCurrent(command)) return;
    const broadcast: Broadcast = {
      command,
      subject: fastSubject(scope),
      bytes,
      untilNs: this.#options.clock.monoNs() + BigInt(BROADCAST_FOR_MS) * 1_000_000n,
      waited: 0,
      isAnswered: false,
      cancel: () => undefined,
    };
    this.#broadcasts.set(cmdId, broadcast);
    if (isSaid) this.#wait(broadcast);
    else this.#say(broadcast);
  }

  /** Says everything again now that somebody has not acknowledged: there is a connection again. */
  sayAll(): void {
    const { clock } = this.#options;
    if (this.#wasUp) this.#returnUntilNs = clock.monoNs() + BigInt(RETURN_MS) * 1_000_000n;
    this.#wasUp = true;
    this.#sayNeeded();
  }

  /** A digest is sent next: who has come back, and lacks what is said here, would ask for it on hearing that. */
  beforeDigest(): void {
    if (this.#isReturn) this.#sayNeeded();
  }

  #sayNeeded(): void {
    for (const broadcast of [...this.#broadcasts.values()]) {
      if (this.#isNeeded(broadcast)) this.#say(broadcast);
      else this.forget(broadcast.command.cmdId);
    }
  }

  noteAnswer(cmdId: string): void {
    const broadcast = this.#broadcasts.get(cmdId);
    if (broadcast) broadcast.isAnswered = true;
  }

  forget(cmdId: string): void {
    this.#broadcasts.get(cmdId)?.cancel();
    this.#broadcasts.delete(cmdId);
  }

  stop(): void {
    for (const cmdId of [...this.#broadcasts.keys()]) this.forget(cmdId);
  }

  #say(broadcast: Broadcast): void {
    broadcast.cancel();
    this.#options.bus.send(broadcast.subject, broadcast.bytes);
    broadcast.waited = 0;
    this.#wait(broadcast);
  }

  /** Every repetition is a message to every node, those included that have answered. */
  #again(broadcast: Broadcast): void {
    if (!this.#isNeeded(broadcast)) {
      this.forget(broadcast.command.cmdId);
      return;
    }
    broadcast.waited += 1;
    const patience = this.#periodsOfSize() + (broadcast.isAnswered ? PERIODS_WAITED_MAX : 0);
    const periods = this.#isReturn ? Math.min(patience, RETURN_PERIODS) : patience;
    broadcast.isAnswered = false;
    if (broadcast.waited <= periods) this.#wait(broadcast);
    else this.#say(broadcast);
  }

  /** Nodes come back now, and what each of them lacks is told to all sooner than each can ask. */
  get #isReturn(): boolean {
    const isNow = this.#options.clock.monoNs() < this.#returnUntilNs;
    return isNow && this.#broadcasts.size <= RETURN_KILLS_MAX;
  }

  #periodsOfSize(): number {
    const periods = Math.floor(this.#options.liveNodes() / NODES_PER_PERIOD);
    return Math.min(periods, PERIODS_WAITED_MAX);
  }

  #wait(broadcast: Broadcast): void {
    broadcast.cancel = this.#options.clock.after(BROADCAST_EVERY_MS, () => this.#again(broadcast));
  }

  #isNeeded({ command, untilNs }: Broadcast): boolean {
    if (this.#options.clock.monoNs() >= untilNs) return false;
    return this.#isCurrent(command) && this.#options.isAwaited(command);
  }

  #isCurrent(command: Command): boolean {
    return this.#options.replica.state.get(command.scope)?.cmdId === command.cmdId;
  }
}

/** The subject on which a kill is heard ahead of its commit. */
export function fastSubject(scope: Scope): string {
  return withPrefix(controlSubject(scope), FAST_PREFIX);
}
