/**
 * Brings a log's checkpoints to its witness, and back what the witness says.
 *
 * K1. One question at a time, about the newest checkpoint. What was skipped is covered by what follows.
 * K2. A witness that has seen more of this log than there is here, or something else, is right: this
 *     log is a copy of an older state, or a fork, and must not be continued.
 */

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { cosignedAt, headOf, openCheckpoint } from "../../audit/checkpoint.ts";
import { consistencyProof } from "../../audit/merkle.ts";
import { rememberedSubtrees } from "../../audit/remembered-subtrees.ts";
import { KEY_TYPES, parseSignatureLine, parseVkey } from "../../audit/signed-note.ts";
import { readTile, subtreesFromTiles, TileError } from "../../audit/tiles.ts";
import { encodeAddCheckpoint } from "../../audit/witness.ts";
import { WITNESSED_PATH } from "../../audit/witnessed.ts";
import type { Clock } from "../../ports/clock.ts";
import { errorMessage } from "../../ports/error-message.ts";
import {
  NodeReplySchema,
  NodeRequestSchema,
  type WitnessReply,
  WitnessRequestSchema,
} from "../../proto/gen/altrace/v1/mesh_pb.ts";
import type { MeshAnswer } from "../mesh-status.ts";
import { NewestFirst, type StepOutcome } from "./newest-first.ts";

const ASK_TIMEOUT_MS = 2_000;
/** After an answer that was none, the next question waits this long. */
const LATER = { waitMs: 1_000 } as const;
/** Questions that follow each other at once. */
const TURNS_MAX = 4;

/** Asks the control plane; undefined when no answer came that counts. */
export type AskWitness = (
  method: "witness",
  request: Uint8Array,
  timeoutMs: number,
) => Promise<MeshAnswer | undefined>;

export type WitnessLinkOptions = {
  readonly ask: AskWitness;
  readonly node: string;
  readonly bootId: string;
  readonly newId: () => string;
  /** Public key of the log. */
  readonly vkey: string;
  /** A file of the log, by its path. */
  readonly read: (path: string) => Uint8Array | undefined;
  readonly clock: Clock;
  /** The witness has cosigned this checkpoint: its text, the witness's line, and the note with it. */
  readonly onCosigned: (text: string, line: string, note: string) => void;
  /** Witnesses outside of the mesh have cosigned this checkpoint of the log, which was found to be its own. */
  readonly onWitnessed: (note: string) => void;
  /** The witness has seen what this log does not have: its last checkpoint of it. */
  readonly onDisowned: (cosigned: string) => void;
  /** Told once when the witness refuses for another reason, until it cosigns again. */
  readonly onRefused: (why: string) => void;
};

export class WitnessLink {
  readonly #options: WitnessLinkOptions;
  readonly #pump: NewestFirst<string>;
  /** Up to which size the witness is believed to have seen the log. */
  #seenSize = 0;
  /** Size of what lies here with cosignatures from outside of the mesh; undefined: it was not looked at. */
  #witnessedSize: number | undefined;
  #turns = 0;
  #isRefused = false;
  /** One proof a second, made by the control thread, of which nearly all was in the one before. */
  readonly #remembered = rememberedSubtrees();

  constructor(options: WitnessLinkOptions) {
    this.#options = options;
    this.#pump = new NewestFirst({
      clock: options.clock,
      restMs: 0,
      step: (checkpoint) => this.#step(checkpoint),
      failed: (error) => this.#refused(errorMessage(error)),
    });
  }

  /** A checkpoint was signed. */
  signed(checkpoint: string): void {
    this.#pump.offer(checkpoint);
  }

  stop(): void {
    this.#pump.stop();
  }

  async #step(checkpoint: string): Promise<StepOutcome> {
    const outcome = await this.#askAbout(checkpoint);
    this.#turns = outcome === "again" ? this.#turns + 1 : 0;
    if (outcome === "done") return "done";
    // Several witnesses that are at different sizes would send it to and fro.
    if (outcome === "again" && this.#turns < TURNS_MAX) return "on";
    this.#turns = 0;
    return LATER;
  }

  /** `again`: at once, from the size that the witness named. */
  async #askAbout(checkpoint: string): Promise<"done" | "again" | "later"> {
    const head = headOf(checkpoint);
    if (head === undefined) return "done";
    const body = this.#bodyOf(checkpoint, head.size);
    // The log has grown past a partial tile since: a newer checkpoint is on its way.
    if (body === undefined) return "done";
    const reply = await this.#ask(body);
    if (reply === undefined) return "later";
    switch (reply.status) {
      case 200:
        return this.#cosigned({ ...head, checkpoint }, reply);
      case 409:
        return this.#isElsewhere(head.size, reply);
      case 422:
        this.#disown(reply);
        return "done";
      case 403:
        // This node lost its disk, and the log of that name was another one's, which the witness keeps.
        if (reply.cosigned === "") break;
        this.#disown(reply);
        return "done";
    }
    this.#refused(`${reply.status} ${reply.body}`);
    return "later";
  }

  #cosigned(
    head: { readonly text: string; readonly size: number; readonly checkpoint: string },
    reply: WitnessReply,
  ) {
    const key = parseVkey(reply.vkey);
    const signature = parseSignatureLine(reply.body.trimEnd());
    const isRight =
      key.ok &&
      key.value.type === KEY_TYPES.cosignature &&
      signature?.id === key.value.id &&
      cosignedAt(key.value, head.text, signature.bytes) !== undefined;
    if (!isRight) {
      this.#refused("the cosignature is wrong");
      return "later" as const;
    }
    this.#isRefused = false;
    this.#seenSize = head.size;
    this.#options.onCosigned(head.text, reply.body, head.checkpoint + reply.body);
    this.#takeWitnessed(reply.witnessed);
    return "done" as const;
  }

  /** The log's own signature says that it is of this log; what others have signed is for auditors to check. */
  #takeWitnessed(note: string): void {
    const size = note === "" ? undefined : this.#ownSize(Buffer.from(note, "utf8"));
    if (size === undefined || size <= this.#seenOutside()) return;
    this.#witnessedSize = size;
    this.#options.onWitnessed(note);
  }

  #seenOutside(): number {
    if (this.#witnessedSize === undefined) {
      const here = this.#options.read(WITNESSED_PATH);
      this.#witnessedSize = (here && this.#ownSize(here)) ?? 0;
    }
    return this.#witnessedSize;
  }

  #ownSize(note: Uint8Array): number | undefined {
    const key = parseVkey(this.#options.vkey);
    const opened = key.ok ? openCheckpoint(note, key.value, []) : key;
    return opened.ok ? opened.value.size : undefined;
  }

  #isElsewhere(size: number, reply: WitnessReply) {
    const seen = Number(reply.body);
    if (!Number.isSafeInteger(seen) || seen < 0) return "later" as const;
    // At the size it named it was asked: then it is the root that differs.
    if (seen > size || (seen === this.#seenSize && seen > 0)) {
      this.#disown(reply);
      return "done" as const;
    }
    this.#seenSize = seen;
    return "again" as const;
  }

  #refused(why: string): typeof LATER {
    if (!this.#isRefused) this.#options.onRefused(why);
    this.#isRefused = true;
    return LATER;
  }

  #disown({ cosigned }: WitnessReply): void {
    this.stop();
    this.#options.onDisowned(cosigned);
  }

  #bodyOf(checkpoint: string, size: number): Uint8Array | undefined {
    const oldSize = Math.min(this.#seenSize, size);
    const { read } = this.#options;
    const subtrees = this.#remembered(subtreesFromTiles(size, (tile) => readTile({ read }, tile)));
    try {
      const proof = consistencyProof(oldSize, size, subtrees);
      return Buffer.from(encodeAddCheckpoint({ oldSize, proof, checkpoint }), "utf8");
    } catch (error) {
      if (!(error instanceof TileError)) throw error;
      return undefined;
    }
  }

  async #ask(body: Uint8Array): Promise<WitnessReply | undefined> {
    const { ask, node, bootId, newId, vkey } = this.#options;
    const witnessedSize = BigInt(this.#seenOutside());
    const request = create(NodeRequestSchema, {
      node,
      bootId,
      requestId: newId(),
      body: { case: "witness", value: create(WitnessRequestSchema, { vkey, body, witnessedSize }) },
    });
    const answer = await ask("witness", toBinary(NodeRequestSchema, request), ASK_TIMEOUT_MS);
    if (answer === undefined) return undefined;
    const reply = fromBinary(NodeReplySchema, answer.bytes).body;
    return reply.case === "witness" ? reply.value : undefined;
  }
}
