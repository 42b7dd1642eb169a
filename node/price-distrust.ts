import { create } from "@bufbuild/protobuf";
import type { AuditRecord } from "../audit/record.ts";
import { DISTRUST_MILLI_MAX } from "../mesh/record-op.ts";
import type { Clock } from "../ports/clock.ts";
import { type Random, uuidV7 } from "../ports/random.ts";
import type { Store } from "../ports/store.ts";
import { DistrustRequestSchema } from "../proto/gen/altrace/v1/mesh_pb.ts";
import { askMesh, type MeshAsker } from "./ask-mesh.ts";
import type { LoopLink } from "./loop-link.ts";
import type { NodeLog } from "./node-log.ts";

// How far bills may exceed their holds, by model, beyond what price entries say.
//
// P1. What holds count with only rises: by this node's bills, and by the mesh's records. An operator's
//     record begins another era, with what it says; what is of an era before counts no more.
// P2. A bill counts here at once; every other node hears of it as soon as a record is committed.
// P3. What a bill has shown is on this node's disk until the mesh's record says as much, and the
//     coordinator is asked again until then. A restart forgets neither.
// P4. Every raise is logged and recorded.

/** Models of which a raise is remembered; those of policy, so hardly ever more than a few. */
export const MODELS_MAX = 4_096;
/** What a record of the mesh may say at most: such a bill says that a price is wrong. */
const RAISE_MILLI_MAX = Number(DISTRUST_MILLI_MAX);
const PREFIX = "distrust/";
const ASK_TIMEOUT_MS = 5_000;
/** Waits before a raise that the coordinator did not take is said again: doubled each time. */
const ASK_AGAIN_MS = { first: 1_000, max: 60_000 };

export type PriceDistrustDeps = MeshAsker & {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly loops: readonly LoopLink[];
  readonly append: (record: AuditRecord) => void;
  readonly log: NodeLog;
};

type Known = {
  /** How often an operator has set it, as far as is known here. */
  era: number;
  /** What holds count with, thousandths. */
  milli: number;
  /** What the mesh's record says; 0 before there is one. */
  meshMilli: number;
  /** What is on this node's disk; 0 for nothing. */
  savedMilli: number;
  /** Of what is on disk. */
  savedEra: number;
  saving: boolean;
  asking: boolean;
  /** Monotonic ns before which the coordinator is not asked again. */
  askAtNs: bigint;
  waitMs: number;
};

type Raise = {
  readonly milli: number;
  readonly era: number;
  readonly by: "bill" | "mesh";
  readonly rid?: string | undefined;
  readonly rec?: string;
};

/** The control thread's view of prices that bills have shown to be too low. */
export class PriceDistrust {
  readonly #deps: PriceDistrustDeps;
  readonly #known = new Map<string, Known>();

  constructor(deps: PriceDistrustDeps) {
    this.#deps = deps;
  }

  /** P3. What an earlier run of this node saw and the mesh may not know. */
  restore(): void {
    for (const [key, bytes] of this.#deps.store.list(PREFIX)) {
      const saved = decodeSaved(bytes);
      const model = key.slice(PREFIX.length);
      const known = this.#of(model);
      if (saved === undefined || known === undefined) continue;
      known.savedMilli = saved.milli;
      known.savedEra = saved.era;
      if (saved.era < known.era) void this.#save(model, known);
      else if (saved.era > known.era || saved.milli > known.milli) this.#tell(model, known, saved);
    }
    this.tick();
  }

  /** A bill was that much above its hold. */
  billed(bill: {
    readonly model: string;
    readonly distrustMilli: number;
    readonly requestId: string;
  }): void {
    const milli = Math.min(bill.distrustMilli, RAISE_MILLI_MAX);
    const era = this.#known.get(bill.model)?.era ?? 0;
    this.#raise(bill.model, { milli, era, by: "bill", rid: bill.requestId });
    this.tick();
  }

  /** A record of the mesh says so. */
  said(record: {
    readonly model: string;
    readonly distrustMilli: number;
    readonly era: number;
    readonly record: string;
  }): void {
    const { model, distrustMilli: milli, era } = record;
    const known = this.#raise(model, { milli, era, by: "mesh", rec: record.record });
    if (known === undefined || era < known.era) return;
    known.meshMilli = Math.max(known.meshMilli, milli);
    if (known.savedMilli > 0) void this.#save(model, known);
  }

  /** Once a second, and after every raise: brings to disk and to the coordinator what is still owed. */
  tick(): void {
    const nowNs = this.#deps.clock.monoNs();
    for (const [model, known] of this.#known) {
      if (known.milli <= known.meshMilli) continue;
      const isSaved = known.savedEra === known.era && known.savedMilli >= known.milli;
      if (!isSaved) void this.#save(model, known);
      if (!known.asking && nowNs >= known.askAtNs) void this.#ask(model, known);
    }
  }

  #raise(model: string, { milli, era, by, rid, rec }: Raise): Known | undefined {
    const { node, clock, log, append } = this.#deps;
    const known = this.#of(model);
    if (known === undefined) return known;
    const isOfNewEra = era > known.era;
    if (!isOfNewEra && (era < known.era || milli <= known.milli)) return known;
    this.#tell(model, known, { milli, era });
    known.askAtNs = 0n;
    if (isOfNewEra) log.distrustSet(model, milli);
    else log.distrust(model, milli, by);
    const of = { ...(rid !== undefined && { rid }), ...(rec !== undefined && { rec }) };
    try {
      append({ v: 1, k: "distrust", t: clock.nowMs(), node, model, milli, by, ...of });
    } catch (error) {
      // The log refuses requests by itself where it cannot be written; the raise must stand.
      log.fault("distrust", error);
    }
    return known;
  }

  #tell(model: string, known: Known, now: Pick<Raise, "milli" | "era">): void {
    const { milli: distrustMilli, era } = now;
    if (era > known.era) known.meshMilli = 0;
    known.era = era;
    known.milli = distrustMilli;
    for (const loop of this.#deps.loops) loop.post({ t: "distrust", model, distrustMilli, era });
  }

  #of(model: string): Known | undefined {
    const known = this.#known.get(model);
    if (known !== undefined || this.#known.size >= MODELS_MAX) return known;
    const made: Known = {
      era: 0,
      milli: 0,
      meshMilli: 0,
      savedMilli: 0,
      savedEra: 0,
      saving: false,
      asking: false,
      askAtNs: 0n,
      waitMs: ASK_AGAIN_MS.first,
    };
    this.#known.set(model, made);
    return made;
  }

  /** Never rejects; what failed is tried again with the next tick. */
  async #save(model: string, known: Known): Promise<void> {
    if (known.saving) return;
    known.saving = true;
    const milli = known.milli > known.meshMilli ? known.milli : 0;
    const { era } = known;
    const value = milli === 0 ? undefined : Buffer.from(`${milli} ${era}`);
    try {
      await this.#deps.store.commit([{ key: PREFIX + model, value }]);
      known.savedMilli = milli;
      known.savedEra = era;
    } catch (error) {
      this.#deps.log.fault("distrust", error);
    }
    known.saving = false;
  }

  async #ask(model: string, known: Known): Promise<void> {
    known.asking = true;
    const { milli, era } = known;
    const reason = await this.#askOnce(model, { milli, era }).catch((error: unknown) =>
      String(error),
    );
    known.asking = false;
    // Taken is not yet committed: what no record says after a while is asked for once more.
    const isNew = known.milli > milli;
    known.waitMs = isNew ? ASK_AGAIN_MS.first : Math.min(known.waitMs * 2, ASK_AGAIN_MS.max);
    known.askAtNs = this.#deps.clock.monoNs() + BigInt(known.waitMs) * 1_000_000n;
    if (reason !== undefined) this.#deps.log.distrustRefused(model, reason);
  }

  /** Undefined: the coordinator took it over. */
  async #askOnce(
    id: string,
    { milli, era }: Pick<Raise, "milli" | "era">,
  ): Promise<string | undefined> {
    const { clock, random } = this.#deps;
    const [provider = "", ...rest] = id.split("/");
    const of = { provider, model: rest.join("/"), milli: BigInt(milli), era: BigInt(era) };
    const requestId = uuidV7(clock.nowMs(), random);
    const body = { case: "distrust" as const, value: create(DistrustRequestSchema, of) };
    const reply = await askMesh(this.#deps, { requestId, body, timeoutMs: ASK_TIMEOUT_MS });
    if (reply?.case === "refused") return reply.value.reason;
    return reply?.case === "distrust" ? undefined : "unavailable";
  }
}

/** Thousandths, and the era where it is not the first: as an older version wrote it, without. */
function decodeSaved(bytes: Uint8Array): Pick<Raise, "milli" | "era"> | undefined {
  const [milli = 0, era = 0] = Buffer.from(bytes).toString().split(" ").map(Number);
  const isGood = Number.isSafeInteger(milli) && milli > 0 && Number.isSafeInteger(era) && era >= 0;
  return isGood ? { milli, era } : undefined;
}
