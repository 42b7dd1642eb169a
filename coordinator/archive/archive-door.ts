import { create } from "@bufbuild/protobuf";
import { isProof } from "../../audit/merkle.ts";
import { KEY_TYPES, parseVkey } from "../../audit/signed-note.ts";
import { encodeAddCheckpoint } from "../../audit/witness.ts";
import { ShipReplySchema, type ShipRequest } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import type { Tell } from "../events.ts";
import type { ReplyBody } from "../node-requests.ts";
import type { Witness } from "../witness.ts";
import type { ArchiveLink } from "./archive-link.ts";

/** Bytes of one shipment's entries, as they come, at most; of such as are hardly alike. */
const SHIPMENT_BYTES_MAX = 128 * 1024;
const CHECKPOINT_CHARS_MAX = 8_192;
/** A log that is not known yet is about to be, by the node's question to the witness. */
const UNKNOWN_RETRY_MS = 2_000;
const OFF_RETRY_MS = 60_000;
/** Where a node from before packages has its entries in a `ShipRequest`. */
const UNPACKED_FIELD = 5;

export type ArchiveDoorOptions = {
  readonly replicaId: string;
  readonly witness: Witness;
  /** Absent: this coordinator keeps no copies. */
  readonly archive: Pick<ArchiveLink, "add"> | undefined;
  readonly tell: Tell;
};

/** Answers nodes that ship: each for its own logs, under the key that they are known by. */
export class ArchiveDoor {
  readonly #options: ArchiveDoorOptions;

  constructor(options: ArchiveDoorOptions) {
    this.#options = options;
  }

  async ship(request: ShipRequest, node: string): Promise<ReplyBody> {
    const { archive, witness, tell } = this.#options;
    const { vkey, checkpoint, packed, proof, first } = request;
    if (archive === undefined) return this.#say({ refused: "archive_off", retryMs: OFF_RETRY_MS });
    const key = parseVkey(vkey);
    const isWithin =
      checkpoint.length <= CHECKPOINT_CHARS_MAX &&
      packed.length <= SHIPMENT_BYTES_MAX &&
      isProof(proof) &&
      first <= BigInt(Number.MAX_SAFE_INTEGER);
    if (!key.ok || key.value.type !== KEY_TYPES.log || !isWithin) {
      return this.#say({ refused: "malformed", retryMs: OFF_RETRY_MS });
    }
    // Its proof goes on from entries that nobody reads here: it would look like a log that was rewritten.
    if (request.$unknown?.some(({ no }) => no === UNPACKED_FIELD)) {
      const detail = "entries are taken packed alone: the node is older than this coordinator";
      return this.#say({ refused: "malformed", detail, retryMs: OFF_RETRY_MS });
    }
    const origin = key.value.name;
    if (!witness.isOf(node, origin)) {
      return this.#say({ refused: "log_unknown", retryMs: OFF_RETRY_MS });
    }
    const known = await this.#knownKey(node, vkey, checkpoint, origin);
    if (known !== vkey) {
      const refused = known === undefined ? "log_unknown" : "log_key";
      return this.#say({ refused, retryMs: UNKNOWN_RETRY_MS });
    }
    const answer = await archive.add(node, {
      origin,
      vkey,
      checkpoint,
      first: Number(first),
      packed,
      proof,
    });
    const { refused, detail } = answer;
    if (refused !== "" && refused !== "elsewhere" && refused !== "archive_busy") {
      tell(refused === "inconsistent" ? "archive_inconsistent" : "archive_refused", {
        node,
        origin,
        reason: refused,
        detail,
      });
    }
    return this.#say(answer);
  }

  /** A coordinator that joined later learns of earlier logs here, as it does from the first question. */
  async #knownKey(
    node: string,
    vkey: string,
    checkpoint: string,
    origin: string,
  ): Promise<string | undefined> {
    const { witness } = this.#options;
    const known = witness.keyOf(origin);
    if (known !== undefined) return known;
    const body = Buffer.from(encodeAddCheckpoint({ oldSize: 0, proof: [], checkpoint }), "utf8");
    await witness.add(node, vkey, body);
    return witness.keyOf(origin);
  }

  #say(answer: {
    readonly refused: string;
    readonly detail?: string;
    readonly next?: number;
    readonly kept?: number;
    readonly retryMs: number;
  }): ReplyBody {
    const { refused, detail = "", next = 0, kept = 0, retryMs } = answer;
    const value = create(ShipReplySchema, {
      replica: this.#options.replicaId,
      refused,
      detail,
      next: BigInt(next),
      kept: BigInt(kept),
      retryMs: BigInt(retryMs),
    });
    return { case: "ship", value };
  }
}
