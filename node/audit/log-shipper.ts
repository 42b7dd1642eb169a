/**
 * Brings one log to one coordinator's archive.
 *
 * H1. Only what a witness has cosigned is shipped, and one question is open at a time: the archive
 *     sets the pace.
 * H2. The archive says where it stands, and is believed: after a crash of either side it is asked, and
 *     what it does not have is sent again.
 */

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { consistencyProof } from "../../audit/merkle.ts";
import { PACKED_ENTRIES_MAX, packEntries, UNPACKED_BYTES_MAX } from "../../audit/packed-entries.ts";
import { rememberedSubtrees } from "../../audit/remembered-subtrees.ts";
import {
  entriesEnd,
  type LogReader,
  readBundleBytes,
  readTile,
  subtreesFromTiles,
  TILE_WIDTH,
  TileError,
  tilePath,
} from "../../audit/tiles.ts";
import type { Clock } from "../../ports/clock.ts";
import { errorMessage } from "../../ports/error-message.ts";
import {
  NodeReplySchema,
  NodeRequestSchema,
  type ShipReply,
  ShipRequestSchema,
} from "../../proto/gen/altrace/v1/mesh_pb.ts";
import type { MeshAnswer } from "../mesh-status.ts";
import { NewestFirst, type StepOutcome } from "./newest-first.ts";

/**
 * Entries of one message, packed, at most, bytes. The mesh thread signs the message in one turn, which must stay well
 * below a millisecond.
 */
export const SHIP_BYTES_MAX = 48 * 1024;
/** Entries of a bundle that is too large for one message; as many of the largest leaves are not. */
const LARGE_ENTRIES = 16;
/** After an answer that was none, the next question waits this long at first, and up to the second, ms. */
const RETRY_MS = { first: 1_000, last: 30_000 } as const;
const ASK_TIMEOUT_MS = 10_000;
/** Questions at once that bring nothing forward, as with an archive that sends the node to and fro. */
const TURNS_MAX = 4;

/** Asks the control plane; undefined when no answer came that counts. */
export type AskArchive = (
  method: "ship",
  request: Uint8Array,
  timeoutMs: number,
) => Promise<MeshAnswer | undefined>;

/** A cosigned checkpoint of the log. */
export type Cosigned = { readonly note: string; readonly size: number };

export type LogShipperOptions = {
  readonly ask: AskArchive;
  readonly node: string;
  readonly bootId: string;
  readonly newId: () => string;
  /** Whose archive. */
  readonly replica: string;
  /** Public key of the log. */
  readonly vkey: string;
  /** A file of the log, by its path. */
  readonly read: LogReader["read"];
  readonly clock: Clock;
  /** Time between the end of one round and the next, ms. */
  readonly everyMs: number;
  /** Entries before this place are on the archive's disk, as the holder of that key says. */
  readonly onKept: (kept: number, kid: string) => void;
  /** Told once for each reason, until something is taken again. */
  readonly onRefused: (why: string) => void;
};

/** Entries as bundles have them. */
type Entries = { readonly count: number; readonly encoded: Uint8Array };

const NO_ENTRIES: Entries = { count: 0, encoded: new Uint8Array(0) };

/** The entries of one message. `count` 0: it only asks. */
type Package = { readonly count: number; readonly packed: Uint8Array };

/**
 * What is packed, while it is: new memory of that size, a hundred times a second, makes V8 collect all it has. Made where
 * something is shipped.
 */
const ROOM: { bytes: Buffer | undefined } = { bytes: undefined };

/** What an archive said, and by which key. */
type Said = { readonly reply: ShipReply; readonly kid: string };

/** Refusals that say nothing of what is on an archive's disk. */
const MOMENTARY: ReadonlySet<string> = new Set([
  "archive_busy",
  "archive_full",
  "archive_unwritten",
]);

export class LogShipper {
  readonly #options: LogShipperOptions;
  readonly #pump: NewestFirst<Cosigned>;
  #newest: Cosigned | undefined;
  /** The entry that the archive takes next; undefined until it has said so. */
  #next: number | undefined;
  #retryMs: number = RETRY_MS.first;
  #turns = 0;
  #kept = 0;
  #told = "";
  /** Hundreds of messages a minute each carry a proof, and the control thread makes it. */
  readonly #remembered = rememberedSubtrees();

  constructor(options: LogShipperOptions) {
    this.#options = options;
    this.#pump = new NewestFirst({
      clock: options.clock,
      restMs: options.everyMs,
      step: (cosigned) => this.#step(cosigned),
      failed: (error) => this.#failed(error),
    });
  }

  /** A checkpoint was cosigned. */
  offer(cosigned: Cosigned): void {
    this.#newest = cosigned;
    this.#pump.offer(cosigned);
  }

  /** Asks the archive where it stands, although nothing is new: its disk may be another one by now. */
  askAgain(): void {
    if (this.#newest === undefined) return;
    this.#next = undefined;
    this.#pump.offer(this.#newest);
  }

  stop(): void {
    this.#pump.stop();
  }

  /** Sends one message and takes in what the archive says. */
  async #step(cosigned: Cosigned): Promise<StepOutcome> {
    const { size } = cosigned;
    const first = this.#next ?? 0;
    // Without entries it is a question, which says where to begin.
    const entries = this.#next === undefined ? NO_ENTRIES : this.#entriesFrom(first, size);
    if (entries === undefined) {
      this.#tell(`entries before ${first} are no longer here: copy the archive of another`);
      return { waitMs: RETRY_MS.last };
    }
    const { count, packed } = packageOf(entries);
    const proof = this.#proof(first + count, size);
    // The log has grown past a partial tile since: a newer checkpoint is on its way.
    if (proof === undefined) return "done";
    const said = await this.#ask({ cosigned, first, packed, proof });
    if (said === undefined) return this.#later();
    const { reply, kid } = said;
    if (reply.refused === "elsewhere") return this.#goTo(said, size);
    if (reply.refused !== "") {
      this.#tell(`${reply.refused} ${reply.detail}`.trim());
      // It cannot say now that it has them, so they do not count until it says so again.
      if (!MOMENTARY.has(reply.refused)) this.#noteKept(0, kid);
      // What stands in memory of an archive that could not write is gone.
      this.#next = undefined;
      return { waitMs: Math.max(Number(reply.retryMs), RETRY_MS.first) };
    }
    this.#told = "";
    const keptBefore = this.#kept;
    this.#next = Number(reply.next);
    // Never more than was shown to be the beginning of this log.
    this.#noteKept(Math.min(Number(reply.kept), first + count), kid);
    if (this.#next >= size && this.#kept >= size) {
      this.#turns = 0;
      this.#retryMs = RETRY_MS.first;
      return "done";
    }
    return this.#again(count > 0 || this.#kept > keptBefore);
  }

  /** The next question at once, unless the last ones have brought nothing forward. */
  #again(isForward: boolean): StepOutcome {
    if (isForward) {
      this.#turns = 0;
      this.#retryMs = RETRY_MS.first;
      return "on";
    }
    this.#turns += 1;
    return this.#turns < TURNS_MAX ? "on" : this.#later();
  }

  /**
   * What it says to have counts for less at once, but for more only when a proof has shown that it is the
   * beginning of this log.
   */
  #goTo({ reply, kid }: Said, size: number): StepOutcome {
    const next = Number(reply.next);
    this.#next = next;
    if (Number(reply.kept) < this.#kept) this.#noteKept(Number(reply.kept), kid);
    // It has more than this checkpoint covers: there is nothing to bring.
    if (next > size) return "done";
    return this.#again(false);
  }

  #noteKept(kept: number, kid: string): void {
    this.#kept = kept;
    this.#options.onKept(kept, kid);
  }

  #later(): { readonly waitMs: number } {
    const waitMs = this.#retryMs;
    this.#turns = 0;
    this.#retryMs = Math.min(2 * waitMs, RETRY_MS.last);
    // Whether the last message was taken is not known.
    this.#next = undefined;
    return { waitMs };
  }

  #failed(error: unknown): { readonly waitMs: number } {
    this.#tell(errorMessage(error));
    return this.#later();
  }

  #tell(why: string): void {
    if (this.#told !== why) this.#options.onRefused(`${this.#options.replica}: ${why}`);
    this.#told = why;
  }

  /**
   * Entries from leaf `first` on, as many as may be in one message, and whole bundles where they fit: their proofs
   * are read and not hashed. Undefined where the first is gone.
   */
  #entriesFrom(first: number, size: number): Entries | undefined {
    ROOM.bytes ??= Buffer.allocUnsafeSlow(UNPACKED_BYTES_MAX);
    const room = ROOM.bytes;
    let [count, end] = [0, 0];
    while (first + count < size && count < PACKED_ENTRIES_MAX) {
      const next = this.#bundleFrom(first + count, size, room.subarray(end));
      if (next === undefined && count === 0) return undefined;
      if (next === undefined) break;
      const { encoded } = next;
      const isTooMuch = end + encoded.length > room.length;
      if (isTooMuch || count + next.count > PACKED_ENTRIES_MAX) {
        return count > 0 ? { count, encoded: room.subarray(0, end) } : firstOf(next, LARGE_ENTRIES);
      }
      room.set(encoded, end);
      count += next.count;
      end += encoded.length;
    }
    return { count, encoded: room.subarray(0, end) };
  }

  /** What its bundle holds from leaf `first` on. It may be read into the beginning of `room`. */
  #bundleFrom(first: number, size: number, room: Buffer): Entries | undefined {
    const index = Math.floor(first / TILE_WIDTH);
    const width = Math.min(TILE_WIDTH, size - index * TILE_WIDTH);
    const bundle = readBundleBytes(this.#options, { index, width }, room);
    const before = first % TILE_WIDTH;
    return (
      bundle && { count: width - before, encoded: bundle.subarray(entriesEnd(bundle, before)) }
    );
  }

  #proof(from: number, size: number): Uint8Array[] | undefined {
    // Several of a proof's hashes come from one tile, which is read once.
    const tiles = new Map<string, Uint8Array | undefined>();
    const subtrees = subtreesFromTiles(size, (tile) => {
      const path = tilePath(tile);
      if (!tiles.has(path)) tiles.set(path, readTile(this.#options, tile));
      return tiles.get(path);
    });
    try {
      return consistencyProof(from, size, this.#remembered(subtrees));
    } catch (error) {
      if (!(error instanceof TileError)) throw error;
      return undefined;
    }
  }

  async #ask(of: {
    readonly cosigned: Cosigned;
    readonly first: number;
    readonly packed: Uint8Array;
    readonly proof: readonly Uint8Array[];
  }): Promise<Said | undefined> {
    const { ask, node, bootId, newId, vkey, replica } = this.#options;
    const value = create(ShipRequestSchema, {
      replica,
      vkey,
      checkpoint: of.cosigned.note,
      first: BigInt(of.first),
      packed: of.packed,
      proof: [...of.proof],
    });
    const request = create(NodeRequestSchema, {
      node,
      bootId,
      requestId: newId(),
      body: { case: "ship", value },
    });
    const answer = await ask("ship", toBinary(NodeRequestSchema, request), ASK_TIMEOUT_MS);
    const reply = answer && fromBinary(NodeReplySchema, answer.bytes).body;
    return reply?.case === "ship" ? { reply: reply.value, kid: answer?.kid ?? "" } : undefined;
  }
}

/** As many of the entries as make a message that is not too large: all of them, unless they are hardly alike. */
function packageOf(entries: Entries): Package {
  for (let some = entries; ; some = firstOf(some, Math.ceil(some.count / 2))) {
    const packed = packEntries(some.encoded);
    if (packed.length <= SHIP_BYTES_MAX || some.count <= 1) return { count: some.count, packed };
  }
}

function firstOf({ encoded }: Entries, count: number): Entries {
  return { count, encoded: encoded.subarray(0, entriesEnd(encoded, count)) };
}
