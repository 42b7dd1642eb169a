import { readFileSync } from "node:fs";
import { create, toBinary } from "@bufbuild/protobuf";
import { encodeVkey, KEY_TYPES, verifierKey } from "../../audit/signed-note.ts";
import { seal } from "../../mesh/sealed.ts";
import type { Bus } from "../../ports/bus.ts";
import type { Cancel, Clock } from "../../ports/clock.ts";
import type { Keys, Signer } from "../../ports/keys.ts";
import { OwnLogSchema } from "../../proto/gen/altrace/v1/mesh_pb.ts";
import { ownLogSubject } from "../../proto/subjects.ts";
import { OPERATIONS_KEY } from "./operations-log.ts";

/** How often it is looked whether the log has grown. */
export const LOOK_EVERY_MS = 5_000;
/** A checkpoint that has not changed is said so often, for those who were not there. */
export const SAY_EVERY_MS = 60_000;

export type OwnCheckpointDeps = {
  readonly replica: string;
  /** The log's name. */
  readonly origin: string;
  /** Its newest checkpoint, as the thread of logs writes it. */
  readonly path: string;
  readonly bus: Pick<Bus, "send">;
  readonly clock: Clock;
  readonly keys: Pick<Keys, "load">;
  /** This coordinator's key, which the mesh knows. */
  readonly signer: Signer;
};

/** Tells the other coordinators how far this one's own log is, so that they see when it goes back. */
export class OwnCheckpoint {
  readonly #deps: OwnCheckpointDeps;
  #said = "";
  #saidNs = 0n;
  #cancel: Cancel = () => undefined;

  constructor(deps: OwnCheckpointDeps) {
    this.#deps = deps;
  }

  /** Now, and every few seconds. */
  start(): void {
    this.#look();
    this.#cancel = this.#deps.clock.after(LOOK_EVERY_MS, () => this.start());
  }

  stop(): void {
    this.#cancel();
  }

  #look(): void {
    const { clock, origin, bus, replica, signer } = this.#deps;
    const { checkpoint, key } = this.#read();
    if (checkpoint === undefined || key === undefined) return;
    const isNews = checkpoint !== this.#said;
    const nowNs = clock.monoNs();
    if (!isNews && nowNs - this.#saidNs < BigInt(SAY_EVERY_MS) * 1_000_000n) return;
    const vkey = encodeVkey(verifierKey(origin, KEY_TYPES.log, key.publicKey));
    const message = create(OwnLogSchema, { vkey, checkpoint });
    bus.send(ownLogSubject(replica), seal("own_log", toBinary(OwnLogSchema, message), signer));
    this.#said = checkpoint;
    this.#saidNs = nowNs;
  }

  /** Without a checkpoint or key: nothing was written yet, or it cannot be read now. */
  #read(): { readonly checkpoint?: string; readonly key?: Signer | undefined } {
    const { path, keys } = this.#deps;
    try {
      return { checkpoint: readFileSync(path, "utf8"), key: keys.load(OPERATIONS_KEY) };
    } catch {
      return {};
    }
  }
}
