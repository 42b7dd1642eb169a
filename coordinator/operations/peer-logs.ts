// What this coordinator keeps of the others' own logs: the newest checkpoint of each.
//
// P1. A checkpoint is heard under a coordinator's key, and counts under its log's; which key that is, is settled by
//     the first one and never changed.
// P2. A log that goes back, or has two roots at one size, is told, and both checkpoints are kept. The newest stays
//     the newest: what went back is held against it until it has grown beyond it.
// P3. Logs and evidence are few: nobody fills this disk with them.
//
// That a log which grew beyond a checkpoint goes on from it is not shown by its size: `altrace audit verify --own
// --witnessed` shows it, by what `altrace audit logs --out` of another coordinator has written.

import { fromBinary } from "@bufbuild/protobuf";
import { type OpenedCheckpoint, openCheckpoint } from "../../audit/checkpoint.ts";
import { KEY_TYPES, parseVkey } from "../../audit/signed-note.ts";
import { openSealed } from "../../mesh/sealed.ts";
import { coordinatorKey, type TrustView } from "../../mesh/trust.ts";
import type { Bus } from "../../ports/bus.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Keys } from "../../ports/keys.ts";
import { type Store, StoreFault } from "../../ports/store.ts";
import { OwnLogSchema } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import { OWN_LOG_PATTERN } from "../../proto/subjects.ts";
import type { Tell } from "../events.ts";
import { keepEvidence } from "../evidence.ts";
import { PEER_LOG_PREFIX, peerLogKey } from "../store-keys.ts";
import { operationsOrigin } from "./operations-log.ts";

/** A mesh has three coordinators; the rest is of those that were. */
const LOGS_MAX = 64;

/** Another coordinator's own log, as it was heard last. */
export type PeerLog = {
  readonly origin: string;
  readonly vkey: string;
  readonly size: number;
  /** Hexadecimal. */
  readonly root: string;
  readonly checkpoint: string;
  /** Wall clock, ms since the Unix epoch. */
  readonly heardAtMs: number;
};

export type PeerLogsDeps = {
  readonly mesh: string;
  /** This coordinator, whose own log somebody else has to keep. */
  readonly replicaId: string;
  readonly bus: Pick<Bus, "listen">;
  readonly store: Store;
  readonly clock: Clock;
  readonly trust: Pick<TrustView, "lookup">;
  readonly verify: Keys["verify"];
  readonly tell: Tell;
};

export class PeerLogs {
  readonly #deps: PeerLogsDeps;
  readonly #newest = new Map<string, PeerLog>();
  #stop: () => void = () => undefined;

  constructor(deps: PeerLogsDeps) {
    this.#deps = deps;
    for (const [, bytes] of deps.store.list(PEER_LOG_PREFIX)) {
      const log = JSON.parse(Buffer.from(bytes).toString("utf8")) as PeerLog;
      this.#newest.set(log.origin, log);
    }
  }

  start(): void {
    this.#stop = this.#deps.bus.listen(OWN_LOG_PATTERN, ({ bytes }) => void this.take(bytes));
  }

  stop(): void {
    this.#stop();
  }

  /** By origin. */
  list(): readonly PeerLog[] {
    return [...this.#newest.values()].sort((left, right) => (left.origin < right.origin ? -1 : 1));
  }

  /** Takes in what a coordinator says of its log. Resolves once it is kept, or is not to be. */
  async take(bytes: Uint8Array): Promise<void> {
    const heard = this.#open(bytes);
    if (heard === undefined) return;
    const kept = this.#newest.get(heard.origin);
    if (kept === undefined && this.#newest.size >= LOGS_MAX) return;
    if (kept !== undefined && kept.vkey !== heard.vkey) {
      this.#deps.tell("log_key_refused", { origin: heard.origin });
      return;
    }
    const isSame = kept?.size === heard.size;
    if (isSame && kept.root === heard.root) return;
    try {
      if (kept !== undefined && (isSame || heard.size < kept.size)) {
        await this.#hold(heard, kept, isSame ? "fork" : "rollback");
      } else await this.#keep(heard);
    } catch (error) {
      if (!(error instanceof StoreFault)) throw error;
      this.#deps.tell("store_failed", { what: "peer log", error: String(error) });
    }
  }

  /** In memory first: two that come at once are compared with each other. */
  async #keep(log: PeerLog): Promise<void> {
    this.#newest.set(log.origin, log);
    const value = Buffer.from(JSON.stringify(log));
    await this.#deps.store.commit([{ key: peerLogKey(log.origin), value }]);
  }

  async #hold(heard: PeerLog, kept: PeerLog, kind: "fork" | "rollback"): Promise<void> {
    const { store, tell } = this.#deps;
    const { origin, size } = heard;
    const of = { origin, kind, cosigned: kept.checkpoint, offered: heard.checkpoint };
    const event = kind === "fork" ? "log_forked" : "log_went_back";
    await keepEvidence(store, of, () => tell(event, { origin, size, found: kept.size }));
  }

  /** P1. */
  #open(bytes: Uint8Array): PeerLog | undefined {
    const { trust, clock, verify, mesh, replicaId } = this.#deps;
    const opened = openSealed("own_log", bytes, coordinatorKey(trust, clock.nowMs()), verify);
    const said = opened && decode(opened.payload);
    const key = said && parseVkey(said.vkey);
    if (!said || !key?.ok || key.value.type !== KEY_TYPES.log) return undefined;
    const origin = key.value.name;
    const [, , replica = ""] = origin.split("/");
    const isOthers = origin === operationsOrigin({ mesh, replica }) && replica !== replicaId;
    if (!isOthers) return undefined;
    const checkpoint = openCheckpoint(Buffer.from(said.checkpoint, "utf8"), key.value, []);
    if (!checkpoint.ok) return undefined;
    return { ...sizeOf(checkpoint.value), origin, ...said, heardAtMs: clock.nowMs() };
  }
}

function sizeOf({ size, root }: OpenedCheckpoint): Pick<PeerLog, "size" | "root"> {
  return { size, root: Buffer.from(root).toString("hex") };
}

function decode(
  bytes: Uint8Array,
): { readonly vkey: string; readonly checkpoint: string } | undefined {
  try {
    const { vkey, checkpoint } = fromBinary(OwnLogSchema, bytes);
    return { vkey, checkpoint };
  } catch {
    return undefined;
  }
}
