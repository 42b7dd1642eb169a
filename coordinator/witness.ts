// The coordinator as a witness of nodes' logs, and the list of all logs that must exist.
//
// X1. A log is known from the first request of the node that it is named after, under the key it then
//     named. That key is never replaced: another key is another log.
// X2. What was cosigned last is read, judged and replaced in one guarded commit, and the answer leaves
//     after it: two requests that cross cannot both be cosigned.
// X3. A log from outside of the mesh is known from the operator's file alone, and kept apart: it is none that
//     must exist.
// X4. A log of the mesh is in the coordinator's own log, a Merkle tree that is signed over, before it is cosigned for
//     the first time, and again while it grows: whoever takes it out of the list must rewrite that.
// X5. Checkpoints that contradict each other are kept, and nobody can fill the disk with them. Two of one size
//     speak for themselves, whoever brings them. A proof that leads nowhere is held against a log only when its
//     own node has sent it: anybody can make one.

import { createHash } from "node:crypto";
import { cosignCheckpoint } from "../audit/checkpoint.ts";
import {
  encodeVkey,
  KEY_TYPES,
  type NoteSigner,
  parseVkey,
  type VerifierKey,
  verifierKey,
} from "../audit/signed-note.ts";
import {
  type AddCheckpoint,
  judgeCheckpoint,
  originOf,
  parseAddCheckpoint,
  type WitnessAnswer,
  type Witnessed,
} from "../audit/witness.ts";
import type { Clock } from "../ports/clock.ts";
import type { Signer } from "../ports/keys.ts";
import type { Store } from "../ports/store.ts";
import type { Tell } from "./events.ts";
import { type KeptEvidence, keepEvidence } from "./evidence.ts";
import { EVIDENCE_PREFIX, LOG_PREFIX, logKey, outsideLogKey } from "./store-keys.ts";

/** Epochs of one node's log; a node that opens more has lost its disk very often, or lies. */
export const LOG_EPOCHS_MAX = 1_024;
/** A log that grows is written down anew after this, ms. */
const NOTE_EVERY_MS = 60_000;
/** Requests that crossed this one before it is given up, to be asked again. */
const CROSSINGS_MAX = 8;

export type WitnessOptions = {
  readonly mesh: string;
  readonly replicaId: string;
  /** Its own key: it signs cosignatures and nothing else. */
  readonly signer: Signer;
  readonly store: Store;
  readonly clock: Clock;
  readonly tell: Tell;
  /** Keys of logs from outside of the mesh, each named after its log. */
  readonly outside?: readonly VerifierKey[];
  /** Writes a log down in the coordinator's own; without it, as in a test, nobody does. */
  readonly noteLog?: NoteLog;
};

/** Resolves once the log is written down; to the words of a fault where that is not known. */
export type NoteLog = (
  log: Pick<KnownLog, "origin" | "vkey" | "size" | "root">,
) => Promise<string | undefined>;

/** The answer of the tlog-witness protocol, and what the log needs when it was left behind. */
export type WitnessSaid = {
  /** As over HTTP: 200, 400, 403, 404, 409, 422; 503: the coordinator cannot write its own log. */
  readonly status: number;
  /** 200: the signature line. 409: the size. Else why, for people. */
  readonly body: string;
  /**
   * What was cosigned last of this log, verbatim; empty when nothing was. 403: of the last log of this node from this
   * one on.
   */
  readonly cosigned: string;
};

/** A log that must exist. */
export type KnownLog = {
  readonly origin: string;
  readonly node: string;
  readonly vkey: string;
  readonly openedAtMs: number;
  readonly size: number;
  readonly root: string;
  /** The checkpoint that was cosigned last, with that cosignature; empty: none yet. */
  readonly checkpoint: string;
  readonly cosignedAtMs: number;
  /** When it was last written down in the coordinator's own log; absent: it never was. */
  readonly notedAtMs?: number;
};

/** What a coordinator's cosignatures are checked by. */
export function witnessKey(of: Pick<WitnessOptions, "mesh" | "replicaId" | "signer">): VerifierKey {
  const name = `${of.mesh}/witness/${of.replicaId}`;
  return verifierKey(name, KEY_TYPES.cosignature, of.signer.publicKey);
}

/** Logs that must exist, by origin, as they are kept. */
export function knownLogs(store: Store): readonly KnownLog[] {
  return store.list(LOG_PREFIX).flatMap(([, bytes]) => readLog(bytes) ?? []);
}

export class Witness {
  /** What cosignatures are checked by. */
  readonly vkey: string;
  readonly #options: WitnessOptions;
  readonly #signer: NoteSigner;
  /** Where a log is in the store, by the SHA-256 of its origin in hex: anybody may ask, as often as they like. */
  readonly #atHash = new Map<string, string>();

  constructor(options: WitnessOptions) {
    const { signer, outside = [] } = options;
    this.#options = options;
    const key = witnessKey(options);
    this.#signer = { key, sign: (message) => signer.sign(message) };
    this.vkey = encodeVkey(key);
    for (const { origin } of this.logs()) this.#atHash.set(sha256Hex(origin), logKey(origin));
    for (const { name } of outside) this.#atHash.set(sha256Hex(name), outsideLogKey(name));
  }

  /** Logs that must exist, by origin. */
  logs(): readonly KnownLog[] {
    return knownLogs(this.#options.store);
  }

  /** The key that a log is known by; undefined when it is not known. */
  keyOf(origin: string): string | undefined {
    const stored = this.#options.store.get(logKey(origin));
    return stored && readLog(stored)?.vkey;
  }

  /** Pairs of checkpoints that contradict each other, oldest log first. */
  evidence(): readonly KeptEvidence[] {
    return this.#options.store
      .list(EVIDENCE_PREFIX)
      .map(([, bytes]) => JSON.parse(Buffer.from(bytes).toString("utf8")));
  }

  /**
   * Answers a node's `add-checkpoint`.
   *
   * @param node The node whose key signed the request.
   * @param vkey Key of its log.
   * @throws StoreFault Nothing was cosigned.
   */
  async add(node: string, vkey: string, body: Uint8Array): Promise<WitnessSaid> {
    const request = parseAddCheckpoint(body);
    if (!request.ok) return said(400, request.detail);
    const origin = originOf(request.value);
    const key = parseVkey(vkey);
    if (!key.ok || key.value.type !== KEY_TYPES.log) return said(400, "the log's key is malformed");
    if (origin === undefined || key.value.name !== origin || !this.isOf(node, origin)) {
      return said(404, `no log of ${node}`);
    }
    const at = logKey(origin);
    return this.#judge(request.value, { origin, node, vkey, key: key.value, at, isByNode: true });
  }

  /**
   * Answers anybody's `add-checkpoint`: about a log of the mesh that its node has made known, or one from
   * the operator's file.
   *
   * @throws StoreFault Nothing was cosigned.
   */
  async addFromOutside(body: Uint8Array): Promise<WitnessSaid> {
    const request = parseAddCheckpoint(body);
    if (!request.ok) return said(400, request.detail);
    const origin = originOf(request.value);
    // What names no log is malformed; who asks about one that is not known learns that.
    if (origin === undefined) return said(400, "the checkpoint is malformed");
    const known = this.#knownBy(origin);
    if (known === undefined) return said(404, "the log is not known");
    return this.#judge(request.value, known);
  }

  /** The newest cosigned checkpoint by the SHA-256 of its log's origin, in hex. */
  latest(originHash: string): string | undefined {
    const at = this.#atHash.get(originHash);
    const stored = at === undefined ? undefined : this.#options.store.get(at);
    return stored && readLog(stored)?.checkpoint;
  }

  #knownBy(origin: string): JudgedLog | undefined {
    const key = this.#options.outside?.find(({ name }) => name === origin);
    if (key !== undefined) {
      const at = outsideLogKey(origin);
      return { origin, node: "", vkey: encodeVkey(key), key, at, isByNode: false };
    }
    const stored = this.#options.store.get(logKey(origin));
    const log = stored && readLog(stored);
    const own = log && parseVkey(log.vkey);
    if (log === undefined || !own?.ok) return undefined;
    const { node, vkey } = log;
    return { origin, node, vkey, key: own.value, at: logKey(origin), isByNode: false };
  }

  async #judge(request: AddCheckpoint, of: JudgedLog): Promise<WitnessSaid> {
    const { origin, node, vkey, key, at } = of;
    for (let crossing = 0; crossing < CROSSINGS_MAX; crossing++) {
      const stored = this.#options.store.get(at);
      const known = stored && readLog(stored);
      if (known !== undefined && known.vkey !== vkey) {
        this.#options.tell("log_key_refused", { node, origin });
        return { ...said(403, "the log has another key"), cosigned: this.#lastOf(node, known) };
      }
      const seen = known && witnessedOf(known);
      const answer = judgeCheckpoint(request, [key], seen);
      if (answer.status !== 200) return this.#refuse(of, answer, known);
      const log = await this.#keep(of, answer, stored);
      if (log !== undefined) return log;
    }
    return said(409, String(this.#sizeAt(at)));
  }

  /**
   * What it cosigned last of the last log in the unbroken row that begins with this one: a node that has lost its disk
   * goes on behind all of them, and learns it at once.
   */
  #lastOf(node: string, first: KnownLog): string {
    const prefix = `${this.#options.mesh}/${node}/e`;
    let last = first;
    for (let epoch = Number(first.origin.slice(prefix.length)) + 1; ; epoch += 1) {
      const stored = this.#options.store.get(logKey(prefix + epoch));
      const next = stored && readLog(stored);
      if (next === undefined) return last.checkpoint;
      last = next;
    }
  }

  /** `<mesh>/<node>/e<epoch>`: a node has no say over logs of others. */
  isOf(node: string, origin: string): boolean {
    const prefix = `${this.#options.mesh}/${node}/e`;
    const epoch = origin.startsWith(prefix) ? origin.slice(prefix.length) : "";
    return /^[1-9][0-9]{0,3}$/.test(epoch) && Number(epoch) <= LOG_EPOCHS_MAX;
  }

  /** @returns Undefined when another request was kept in between. */
  async #keep(
    { origin, node, vkey, at: key }: JudgedLog,
    { text, next }: Extract<WitnessAnswer, { status: 200 }>,
    stored: Uint8Array | undefined,
  ): Promise<WitnessSaid | undefined> {
    const { store, clock } = this.#options;
    const nowMs = clock.nowMs();
    const root = Buffer.from(next.root).toString("hex");
    const known = stored && readLog(stored);
    const notedAtMs = await this.#note({ origin, vkey, size: next.size, root }, key, known);
    if (notedAtMs === undefined) {
      return { ...said(503, "the coordinator cannot write its own log"), cosigned: "" };
    }
    const line = cosignCheckpoint(text, this.#signer, Math.floor(nowMs / 1_000));
    const log: KnownLog = {
      origin,
      node,
      vkey,
      openedAtMs: known?.openedAtMs ?? nowMs,
      size: next.size,
      root,
      checkpoint: next.checkpoint + line,
      cosignedAtMs: nowMs,
      ...(notedAtMs > 0 && { notedAtMs }),
    };
    const value = Buffer.from(JSON.stringify(log));
    const outcome = await store.commit([{ key, value }], { key, value: stored });
    if (outcome === "conflict") return undefined;
    this.#atHash.set(sha256Hex(origin), key);
    if (known === undefined) this.#options.tell("log_opened", { node, origin });
    return { status: 200, body: line, cosigned: log.checkpoint };
  }

  /**
   * X4. Writes the log down where that is due.
   *
   * @returns When it was last written down, 0 for never. Undefined: it never was, and cannot be.
   */
  async #note(
    log: Pick<KnownLog, "origin" | "vkey" | "size" | "root">,
    at: string,
    known: KnownLog | undefined,
  ): Promise<number | undefined> {
    const { noteLog, clock } = this.#options;
    // One from outside of the mesh is none that must exist.
    if (noteLog === undefined || at !== logKey(log.origin)) return 0;
    const nowMs = clock.nowMs();
    const { notedAtMs } = known ?? {};
    if (notedAtMs !== undefined && Math.abs(nowMs - notedAtMs) < NOTE_EVERY_MS) return notedAtMs;
    return (await noteLog(log)) === undefined ? nowMs : notedAtMs;
  }

  /**
   * X4. Writes down what earlier versions of this program have cosigned and not written down. For once,
   * at the start.
   */
  async noteKnown(): Promise<void> {
    const { noteLog, store, clock } = this.#options;
    if (noteLog === undefined) return;
    for (const [key, value] of store.list(LOG_PREFIX)) {
      const log = readLog(value);
      if (log === undefined || log.notedAtMs !== undefined) continue;
      if ((await noteLog(log)) !== undefined) return;
      const noted = Buffer.from(JSON.stringify({ ...log, notedAtMs: clock.nowMs() }));
      // A cosignature in between has written it down itself.
      await store.commit([{ key, value: noted }], { key, value });
    }
  }

  async #refuse(
    { origin, node, isByNode }: JudgedLog,
    answer: Exclude<WitnessAnswer, { status: 200 }>,
    known: KnownLog | undefined,
  ): Promise<WitnessSaid> {
    const { evidence } = answer;
    if (evidence !== undefined && (isByNode || evidence.kind === "fork")) {
      const { store, tell } = this.#options;
      const event = evidence.kind === "fork" ? "log_forked" : "log_inconsistent";
      await keepEvidence(store, { ...evidence, origin }, () => tell(event, { node, origin }));
    }
    const body = answer.status === 409 ? String(answer.size) : answer.detail;
    return { ...said(answer.status, body), cosigned: known?.checkpoint ?? "" };
  }

  #sizeAt(key: string): number {
    const stored = this.#options.store.get(key);
    return (stored && readLog(stored)?.size) ?? 0;
  }
}

type JudgedLog = Pick<KnownLog, "origin" | "node" | "vkey"> & {
  readonly key: VerifierKey;
  /** Where it is kept in the store. */
  readonly at: string;
  /** The log's own node asks, under its key. */
  readonly isByNode: boolean;
};

function sha256Hex(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function witnessedOf({ size, root, checkpoint }: KnownLog): Witnessed {
  return { size, root: Buffer.from(root, "hex"), checkpoint };
}

function readLog(bytes: Uint8Array): KnownLog | undefined {
  return JSON.parse(Buffer.from(bytes).toString("utf8")) as KnownLog;
}

function said(status: number, body: string): WitnessSaid {
  return { status, body, cosigned: "" };
}
