/** Nodes that ship, and archives on disks in memory: between them what the bus would carry. */

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { checkpointText, cosignCheckpoint, signCheckpoint } from "../../../audit/checkpoint.ts";
import type { AuditRecord } from "../../../audit/record.ts";
import { encodeNote, encodeVkey, KEY_TYPES } from "../../../audit/signed-note.ts";
import { verifyLog } from "../../../audit/verify-log.ts";
import { Archive } from "../../../coordinator/archive/archive.ts";
import { ArchiveDoor } from "../../../coordinator/archive/archive-door.ts";
import { Witness } from "../../../coordinator/witness.ts";
import { LogShipper, type LogShipperOptions } from "../../../node/audit/log-shipper.ts";
import { type TwinClock, twinClock } from "../../../ports/twin-clock.ts";
import { twinKeys } from "../../../ports/twin-keys.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { twinStore } from "../../../ports/twin-store.ts";
import {
  NodeReplySchema,
  NodeRequestSchema,
  type ShipReply,
  type ShipRequest,
} from "../../../proto/gen/altrace/v1/mesh_pb.ts";
import { buildLog, entriesOf, recordsOf, signerOf, T0_MS } from "../audit/sample-log.ts";
import { TwinDisk } from "../node/audit/twin-disk.ts";

export const DIR = "/home/archive";
export const ORIGIN = "acme/node-7/e1";
export const LOG = signerOf(ORIGIN, KEY_TYPES.log, 1);
export const VKEY = encodeVkey(LOG.key);
export const WITNESS = signerOf("acme/witness/c1", KEY_TYPES.cosignature, 2);
const ALL = recordsOf(1_500);

export type MadeLog = {
  readonly files: Map<string, Buffer>;
  readonly size: number;
  readonly note: string;
};

/** The log of node-7 at some size; `bend` makes another history of it. */
export function logOf(size: number, bend: (seq: number) => number = () => 0): MadeLog {
  return madeOf(ALL.slice(0, size).map((record, seq) => ({ ...record, t: record.t + bend(seq) })));
}

/** The log of node-7 after its end, which is the last of so many leaves. */
export function endedLogOf(size: number): MadeLog {
  const t = T0_MS + size * 10;
  const close = { v: 1, k: "close", t, node: "node-7", rc: "epoch_full" } as const;
  return madeOf([...ALL.slice(0, size - 1), close]);
}

/** When the witness has cosigned a log of that size, ms. */
export function cosignedMs(size: number): number {
  return (Math.ceil(T0_MS / 1_000) + size) * 1_000;
}

function madeOf(records: readonly AuditRecord[]): MadeLog {
  const size = records.length;
  const log = buildLog(entriesOf(records));
  const text = checkpointText({ origin: ORIGIN, size, root: log.edge.root() });
  const cosigned = cosignCheckpoint(text, WITNESS, cosignedMs(size) / 1_000);
  const note = encodeNote(text, [signCheckpoint(text, LOG), cosigned]);
  log.files.set("checkpoint", Buffer.from(note));
  return { files: log.files, size, note };
}

export class Coordinator {
  readonly told: string[] = [];
  readonly witness: Witness;
  disk: TwinDisk;
  archive: Archive;
  door: ArchiveDoor;
  /** What nodes asked, and what was said. */
  readonly asked: ShipRequest[] = [];
  readonly said: ShipReply[] = [];

  readonly replicaId: string;

  constructor(disk: TwinDisk = new TwinDisk(), replicaId = "c1") {
    this.replicaId = replicaId;
    this.witness = new Witness({
      mesh: "acme",
      replicaId,
      signer: twinKeys(twinRandom(4)).loadOrCreate("witness"),
      store: twinStore({}),
      clock: twinClock(),
      tell: () => undefined,
    });
    this.disk = disk;
    [this.archive, this.door] = this.#open(disk);
  }

  /** Goes on, as another process, with what is on this disk. */
  restart(disk: TwinDisk): void {
    this.disk = disk;
    [this.archive, this.door] = this.#open(disk);
  }

  async ship(request: ShipRequest, node = "node-7"): Promise<ShipReply> {
    this.asked.push(request);
    const body = await this.door.ship(request, node);
    if (body.case !== "ship") throw new Error(`answered ${body.case}`);
    this.said.push(body.value);
    return body.value;
  }

  /** Files of a copy, by their paths. */
  files(origin = ORIGIN): Map<string, Buffer> {
    const prefix = `${DIR}/${origin}/`;
    const own = this.disk.paths().filter((path) => path.startsWith(prefix));
    return new Map(
      own.map((path) => [path.slice(prefix.length), this.disk.contentOf(path) as Buffer]),
    );
  }

  /** What an auditor finds in the copy; nothing where no checkpoint is published yet. */
  findings(): readonly string[] {
    const files = this.files();
    if (!files.has("checkpoint")) return [];
    const reader = { read: (path: string) => files.get(path) };
    // The sample records are of another mesh, which the first of them says.
    const { findings } = verifyLog({ reader, logKey: LOG.key });
    return findings.map(({ code }) => code).filter((code) => code !== "genesis_origin");
  }

  #open(disk: TwinDisk): [Archive, ArchiveDoor] {
    const archive = new Archive({
      disk,
      dir: DIR,
      reserveBytes: 1_000,
      witnessVkey: encodeVkey(WITNESS.key),
      waitingBytesMax: 100_000,
    });
    const link = {
      add: async (_node: string, ask: Parameters<Archive["take"]>[0]) => archive.take(ask),
    };
    const door = new ArchiveDoor({
      replicaId: this.replicaId,
      witness: this.witness,
      archive: link,
      tell: (event) => this.told.push(event),
    });
    return [archive, door];
  }
}

export class ShippingNode {
  readonly clock: TwinClock = twinClock();
  readonly kept: number[] = [];
  readonly refused: string[] = [];
  log: MadeLog = logOf(1);
  readonly shipper: LogShipper;

  constructor(coordinator: Coordinator, more: Partial<LogShipperOptions> = {}) {
    this.shipper = new LogShipper({
      node: "node-7",
      bootId: "b",
      newId: () => "r",
      replica: coordinator.replicaId,
      vkey: VKEY,
      clock: this.clock,
      everyMs: 5_000,
      read: (path) => this.log.files.get(path),
      ask: async (_method, bytes) => {
        const { body } = fromBinary(NodeRequestSchema, bytes);
        if (body.case !== "ship") throw new Error("asked something else");
        const value = await coordinator.ship(body.value);
        const reply = create(NodeReplySchema, { requestId: "r", body: { case: "ship", value } });
        return { bytes: toBinary(NodeReplySchema, reply), kid: coordinator.replicaId };
      },
      onKept: (kept) => this.kept.push(kept),
      onRefused: (why) => this.refused.push(why),
      ...more,
    });
  }

  /** The log has grown to this, and a witness has cosigned it. */
  async cosigned(log: MadeLog): Promise<void> {
    this.log = log;
    this.shipper.offer(log);
    await this.settle();
    this.clock.advance(5_000);
    await this.settle();
  }

  /** Until it waits for nothing but time. */
  async settle(): Promise<void> {
    for (let i = 0; i < 60; i++) await new Promise(setImmediate);
  }
}
