import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Clock } from "../ports/clock.ts";
import { type Store, StoreFault, type Write } from "../ports/store.ts";
import { type Ack, AckSchema } from "../proto/gen/altrace/v1/mesh_pb.ts";
import type { Command } from "./command.ts";
import type { Tell } from "./events.ts";
import { ACK_PREFIX, ackKey } from "./store-keys.ts";

/** Acks wait so long to share one write: they are evidence, and heartbeats make lost ones good. */
const SAVE_EVERY_MS = 100;

export type AckBookOptions = {
  readonly store: Store;
  readonly clock: Clock;
  readonly tell: Tell;
};

/** What every node has said of every remembered command. */
export class AckBook {
  readonly #options: AckBookOptions;
  /** By command, then by node. */
  readonly #acks = new Map<string, Map<string, Ack>>();
  readonly #unsaved = new Map<string, Ack>();
  /** Keys on disk of commands that nobody remembers. */
  readonly #stray = new Set<string>();
  #cancelSave: (() => void) | undefined;
  #saving: Promise<void> = Promise.resolve();

  constructor(options: AckBookOptions) {
    this.#options = options;
    for (const [key, value] of options.store.list(ACK_PREFIX)) {
      const node = key.slice(key.lastIndexOf("/") + 1);
      this.#of(commandOf(key)).set(node, fromBinary(AckSchema, value));
    }
  }

  get(cmdId: string, node: string): Ack | undefined {
    return this.#acks.get(cmdId)?.get(node);
  }

  /**
   * Keeps what an ack adds to what is known. Acks repeat what went before, and come in any order.
   *
   * @returns Whether it said something new.
   */
  take(command: Command, ack: Ack): boolean {
    const merged = this.#merged(command, ack);
    if (merged === undefined) return false;
    this.#of(command.cmdId).set(ack.node, merged);
    this.#unsaved.set(ackKey(command.cmdId, ack.node), merged);
    this.#saveSoon();
    return true;
  }

  /** Whether `take` would keep anything of it. */
  adds(command: Command, ack: Ack): boolean {
    return this.#merged(command, ack) !== undefined;
  }

  /** A heartbeat says that the node holds exactly our state: so it enforces this command too. */
  assume(
    command: Command,
    node: string,
    said: {
      readonly bootId: string;
      readonly isDurable: boolean;
      /** The node has ended what the command covers. */
      readonly isClosed: boolean;
    },
  ): boolean {
    const known = this.get(command.cmdId, node);
    const isNews =
      known === undefined ||
      !isOf(command, known) ||
      (said.isDurable && !known.durable) ||
      (said.isClosed && !known.closed);
    if (!isNews) return false;
    const ack = create(AckSchema, {
      node,
      bootId: said.bootId,
      scope: command.scope,
      v: BigInt(command.v),
      // Of its own: from the pool it would keep 64 KiB for as long as the command is remembered.
      recordHash: Uint8Array.fromHex(command.hashHex),
      cmdId: command.cmdId,
      durable: said.isDurable,
      closed: said.isClosed,
    });
    return this.take(command, ack);
  }

  /** At the start: what a crash left of commands that were forgotten before it. */
  keepOnly(isRemembered: (cmdId: string) => boolean): void {
    for (const cmdId of [...this.#acks.keys()]) {
      if (isRemembered(cmdId)) continue;
      for (const node of this.#acks.get(cmdId)?.keys() ?? []) this.#stray.add(ackKey(cmdId, node));
      this.#acks.delete(cmdId);
    }
    if (this.#stray.size > 0) this.#saveSoon();
  }

  /** A command is no longer remembered. */
  forget(cmdId: string): void {
    this.#acks.delete(cmdId);
    for (const key of this.#unsaved.keys()) {
      if (key.startsWith(`${ACK_PREFIX}${cmdId}/`)) this.#unsaved.delete(key);
    }
  }

  /** Writes what is not on disk. */
  save(): Promise<void> {
    this.#cancelSave?.();
    this.#cancelSave = undefined;
    this.#saving = this.#saving.then(() => this.#saveNow());
    return this.#saving;
  }

  /** `undefined` where everything that it says is known. */
  #merged({ cmdId }: Command, ack: Ack): Ack | undefined {
    const before = this.get(cmdId, ack.node);
    if (before === undefined) return ack;
    const merged = mergeAcks(before, ack);
    return isSame(before, merged) ? undefined : merged;
  }

  #of(cmdId: string): Map<string, Ack> {
    const known = this.#acks.get(cmdId);
    if (known) return known;
    const added = new Map<string, Ack>();
    this.#acks.set(cmdId, added);
    return added;
  }

  #saveSoon(): void {
    this.#cancelSave ??= this.#options.clock.after(SAVE_EVERY_MS, () => void this.save());
  }

  async #saveNow(): Promise<void> {
    const entries = [...this.#unsaved];
    const stray = [...this.#stray];
    if (entries.length + stray.length === 0) return;
    const writes: Write[] = entries.map(([key, ack]) => ({ key, value: encode(ack) }));
    try {
      await this.#options.store.commit([
        ...stray.map((key) => ({ key, value: undefined })),
        ...writes,
      ]);
      for (const key of stray) this.#stray.delete(key);
      for (const [key, ack] of entries) {
        if (this.#unsaved.get(key) === ack) this.#unsaved.delete(key);
        // Forgotten while it was being written: whoever removed its acks did not find this one.
        if (!this.#acks.has(commandOf(key))) this.#stray.add(key);
      }
      if (this.#stray.size > 0) this.#saveSoon();
    } catch (error) {
      if (!(error instanceof StoreFault)) throw error;
      this.#options.tell("store_failed", { what: "acks", error: String(error) });
    }
  }
}

function commandOf(key: string): string {
  return key.slice(ACK_PREFIX.length, key.lastIndexOf("/"));
}

function encode(ack: Ack): Uint8Array {
  return toBinary(AckSchema, ack);
}

/** Whether the ack says that the command's record is enforced, and not one from before it was signed again. */
export function isOf(command: Command, ack: Ack | undefined): boolean {
  return ack?.refused === "" && isOfRecord(command, ack);
}

/** Whether the ack speaks of the command's record as it is now. */
export function isOfRecord(command: Command, { recordHash }: Ack): boolean {
  const { buffer, byteOffset, length } = recordHash;
  return Buffer.from(buffer, byteOffset, length).toString("hex") === command.hashHex;
}

/** Field by field, whichever there are: of a kill in a large mesh half of the acks come when a heartbeat has told most of it. */
function isSame(left: Ack, right: Ack): boolean {
  const names = Object.keys(right) as (keyof Ack)[];
  return names.every((name) => isSameValue(left[name], right[name]));
}

function isSameValue(left: Ack[keyof Ack], right: Ack[keyof Ack]): boolean {
  if (left === right) return true;
  const isBytes = left instanceof Uint8Array && right instanceof Uint8Array;
  if (isBytes) return Buffer.compare(left, right) === 0;
  // What else is an object, is so for itself alone: acks that came within one are told apart before they get here.
  return Array.isArray(left) && Array.isArray(right) && left.length + right.length === 0;
}

/** Of two acks of one node: what either says is done is done, at the time that was told first. */
function mergeAcks(before: Ack, now: Ack): Ack {
  // A kill that was signed again has a new record: what was said of the old one is history.
  if (Buffer.compare(before.recordHash, now.recordHash) !== 0 && now.v > before.v) return now;
  // A refusal stands until the node says that it enforces the record after all.
  const refused = before.refused === "" ? "" : now.refused;
  return create(AckSchema, {
    ...now,
    refused,
    enforcedNs: before.enforcedNs || now.enforcedNs,
    gatedNs: before.gatedNs || now.gatedNs,
    closedNs: before.closedNs || now.closedNs,
    durableNs: before.durableNs || now.durableNs,
    closedCount: Math.max(before.closedCount, now.closedCount),
    // A later look may have found more.
    sweptNs: before.sweptNs > now.sweptNs ? before.sweptNs : now.sweptNs,
    sweptCount: Math.max(before.sweptCount, now.sweptCount),
    closed: before.closed || now.closed,
    durable: before.durable || now.durable,
    hostStallNs: before.hostStallNs > now.hostStallNs ? before.hostStallNs : now.hostStallNs,
  });
}
