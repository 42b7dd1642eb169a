/** A log on a disk in memory, witnesses outside, and between them what HTTP would carry. */

import { join } from "node:path";
import { LogFiles } from "../../../audit/log-files.ts";
import type { WitnessPlace } from "../../../audit/log-policy.ts";
import { encodeVkey, type VerifierKey } from "../../../audit/signed-note.ts";
import { verifyLog } from "../../../audit/verify-log.ts";
import { WITNESSED_PATH } from "../../../audit/witnessed.ts";
import { readOutsideFile } from "../../../coordinator/outside/outside-file.ts";
import {
  type OutsideEvidence,
  type OutsideNews,
  type OutsideStatus,
  OutsideWitnesses,
} from "../../../coordinator/outside/outside-witnesses.ts";
import { Witness, witnessKey } from "../../../coordinator/witness.ts";
import type { CallWitness } from "../../../ports/call-witness.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinKeys } from "../../../ports/twin-keys.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { twinStore } from "../../../ports/twin-store.ts";
import { T0_MS } from "../audit/sample-log.ts";
import { TwinDisk } from "../node/audit/twin-disk.ts";
import { LOG, logOf, type MadeLog, ORIGIN, WITNESS } from "./archive-world.ts";

const DIR = "/home/archive";
export const EVERY_MS = 60_000;

type Answer = { readonly status: number; readonly body: string };
type Asked = { readonly witness: string; readonly method: string; readonly body: string };

/** A witness of somebody else: a coordinator of another mesh that has our log's key in its file. */
export class OtherMesh {
  readonly name: string;
  readonly witness: Witness;
  readonly key: VerifierKey;

  constructor(name: string, seed: number, nowMs: () => number) {
    const signer = twinKeys(twinRandom(seed)).loadOrCreate("witness");
    const of = { mesh: "other", replicaId: name, signer };
    this.name = name;
    this.key = witnessKey(of);
    this.witness = new Witness({
      ...of,
      store: twinStore({}),
      clock: { ...twinClock(), nowMs },
      tell: () => undefined,
      outside: [LOG.key],
    });
  }

  get line(): string {
    return `witness ${this.name} ${encodeVkey(this.key)} https://${this.name}.example/w\n`;
  }

  async answer(url: string, body: string | undefined): Promise<Answer> {
    if (body !== undefined) return this.witness.addFromOutside(Buffer.from(body));
    const [, hash = ""] = /([0-9a-f]{64})\/checkpoint$/.exec(url) ?? [];
    const latest = this.witness.latest(hash);
    return { status: latest === undefined ? 404 : 200, body: latest ?? "" };
  }
}

export class OutsideWorld {
  readonly clock = twinClock({ nowMs: T0_MS + 60_000 });
  readonly meshes: readonly OtherMesh[];
  readonly news: OutsideNews[] = [];
  readonly evidence: OutsideEvidence[] = [];
  readonly asked: Asked[] = [];
  statuses: OutsideStatus[] = [];
  /** What was told to lie in `witnessed`. */
  readonly told: string[] = [];
  disk = new TwinDisk();
  outside: OutsideWitnesses;
  /** Answers in a witness's place: what it says instead, or nothing ever. */
  readonly instead = new Map<string, (ask: Asked) => Promise<Answer> | undefined>();
  readonly #more: string;
  readonly #isOwn: boolean;

  /** @param quorum The lines after those of the witnesses. */
  constructor(
    names: readonly string[],
    quorum: string,
    { isOwn = false, disk = new TwinDisk() }: { isOwn?: boolean; disk?: TwinDisk } = {},
  ) {
    this.meshes = names.map((name, i) => new OtherMesh(name, 50 + i, () => this.clock.nowMs()));
    this.#more = quorum;
    this.#isOwn = isOwn;
    this.disk = disk;
    this.outside = this.#open();
  }

  /** Another process goes on with what is on the disk. */
  restart(disk = this.disk.afterCrash()): void {
    this.outside.stop();
    this.disk = disk;
    this.outside = this.#open();
    this.take();
  }

  /** Takes up the log as it lies on the disk. */
  take(): void {
    const files = new LogFiles(this.disk, { home: DIR, dir: join(DIR, ORIGIN) });
    const of = { key: LOG.key, isOwn: this.#isOwn, files, coordinator: WITNESS.key };
    this.outside.take({ ...of, onWitnessed: (_size, note) => this.told.push(note) });
  }

  /** The log has grown to this, and all of it is on the disk. */
  grown(log: MadeLog): void {
    const files = new LogFiles(this.disk, { home: DIR, dir: join(DIR, ORIGIN) });
    for (const [path, bytes] of log.files) files.put(path, bytes);
    this.disk.makeFolder(DIR);
    files.settle(() => undefined);
    this.take();
    this.outside.offer(ORIGIN, log.note);
  }

  /** Time passes, and what is asked meanwhile is answered. */
  async pass(ms: number): Promise<void> {
    // What is asked every second is not waited for one by one where it is hours.
    const step = ms > EVERY_MS ? 10_000 : 1_000;
    for (let left = ms; left > 0; left -= step) {
      this.clock.advance(Math.min(left, step));
      await this.settle();
    }
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 12; i++) await new Promise(setImmediate);
  }

  place(name: string): Pick<WitnessPlace, "key"> {
    return this.meshes.find((mesh) => mesh.name === name) as OtherMesh;
  }

  get witnessed(): Buffer | undefined {
    return this.disk.contentOf(join(DIR, ORIGIN, WITNESSED_PATH));
  }

  /** What an auditor with the operator's file finds, and up to where it is witnessed by whom. */
  audited() {
    const reader = { read: (path: string) => this.disk.contentOf(join(DIR, ORIGIN, path)) };
    const { policy } = readOutsideFile(Buffer.from(this.text));
    const { findings, quorum } = verifyLog({ reader, logKey: LOG.key, policy });
    // The sample records are of another mesh, which the first of them says.
    const codes = findings.map(({ code }) => code).filter((code) => code !== "genesis_origin");
    const by = quorum?.cosignatures.map(({ key }) => key.name.split("/").at(-1));
    return { codes, size: quorum?.size, by };
  }

  get text(): string {
    return this.meshes.map(({ line }) => line).join("") + this.#more;
  }

  #open(): OutsideWitnesses {
    const outside = new OutsideWitnesses({
      outside: readOutsideFile(Buffer.from(this.text)),
      everyMs: EVERY_MS,
      call: this.#call,
      clock: this.clock,
      onNews: (news) => this.news.push(news),
      onEvidence: (evidence) => this.evidence.push(evidence),
      onStatus: (status) => this.statuses.push(status),
    });
    outside.start();
    return outside;
  }

  readonly #call: CallWitness = async (url, { method, body }) => {
    const mesh = this.meshes.find(({ name }) => url.startsWith(`https://${name}.example/w/`));
    if (mesh === undefined) throw new Error(`nobody is at ${url}`);
    const asked = { witness: mesh.name, method, body: body ?? "" };
    this.asked.push(asked);
    const answer = await (this.instead.get(mesh.name)?.(asked) ?? mesh.answer(url, body));
    return { status: answer.status, body: Buffer.from(answer.body) };
  };
}

export { logOf };
