// One log of ours, and the cosignatures that witnesses outside have given it.
//
// B1. All witnesses are asked about the same checkpoints: a new one is taken up only so often, or none would ever
//     have a quorum.
// B2. A cosignature that comes late is put beside the checkpoint that it is for, as long as that is remembered.
// B3. What lies in `witnessed` has the quorum, once one had it, and never becomes older.

import { type OpenedCheckpoint, openCheckpoint } from "../../audit/checkpoint.ts";
import type { LogFiles } from "../../audit/log-files.ts";
import { hasQuorum, type LogPolicy } from "../../audit/log-policy.ts";
import { consistencyProof, rootAt, sameHash, verifyConsistency } from "../../audit/merkle.ts";
import {
  encodeNote,
  encodeVkey,
  type Note,
  signatureLine,
  signaturesBy,
  type VerifierKey,
} from "../../audit/signed-note.ts";
import { CHECKPOINT_PATH, readTile, subtreesFromTiles, TileError } from "../../audit/tiles.ts";
import { encodeAddCheckpoint } from "../../audit/witness.ts";
import { WITNESSED_PATH } from "../../audit/witnessed.ts";

/** Checkpoints whose cosignatures are waited for. */
const CANDIDATES_MAX = 8;
const NOTHING = (): void => undefined;

/** A checkpoint that witnesses are asked about. */
export type Candidate = {
  readonly size: number;
  readonly root: Uint8Array;
  /** What is signed. */
  readonly text: string;
  /** With the signatures of the log and of this coordinator, and no other. */
  readonly note: string;
};

export type BroughtLogOptions = {
  readonly key: VerifierKey;
  /** Nobody but this coordinator adds to it or brings it. */
  readonly isOwn: boolean;
  readonly files: LogFiles;
  readonly policy: LogPolicy;
  /** This coordinator as a witness: its line stays beside those from outside. */
  readonly coordinator: VerifierKey;
  /**
   * What is kept in `witnessed` and has the quorum, at first and whenever it is another. A node cannot tell whether one has,
   * and keeps the largest that it is told of: without that a larger one of fewer witnesses would take the place of one that counts.
   */
  readonly onWitnessed: (size: number, note: string) => void;
};

/** What a witness's own checkpoint of a log is to ours. */
export type Contradiction =
  /** Both are signed, and one root at most is true. */
  | "fork"
  /** It is of more than is here. */
  | "rollback"
  /** It contradicts nothing, or it is not there to be looked at. */
  | "none";

type Waiting = Candidate & { readonly cosigned: Map<string, { key: VerifierKey; line: string }> };

export class BroughtLog {
  readonly key: VerifierKey;
  /** Nobody but this coordinator adds to it or brings it. */
  readonly isOwn: boolean;
  readonly #files: LogFiles;
  readonly #policy: LogPolicy;
  readonly #coordinator: VerifierKey;
  readonly #onWitnessed: BroughtLogOptions["onWitnessed"];
  /** Newest last. */
  readonly #candidates: Waiting[] = [];
  #kept: { readonly size: number; readonly count: number; readonly isQuorum: boolean } | undefined;
  /** Signed since the last candidate. */
  #newest: string | undefined;
  #takenUpMs = Number.NEGATIVE_INFINITY;
  #unwitnessedMs: number | undefined;

  /** Takes up what was cosigned before, as far as it is still right. */
  constructor({ key, isOwn, files, policy, coordinator, onWitnessed }: BroughtLogOptions) {
    this.key = key;
    this.#onWitnessed = onWitnessed;
    this.isOwn = isOwn;
    this.#files = files;
    this.#policy = policy;
    this.#coordinator = coordinator;
    const witnessed = files.read(WITNESSED_PATH);
    if (witnessed !== undefined) this.#remember(witnessed);
    const checkpoint = files.read(CHECKPOINT_PATH);
    if (checkpoint !== undefined) this.offer(checkpoint.toString("utf8"));
  }

  get origin(): string {
    return this.key.name;
  }

  /** What witnesses are asked about now; undefined before there is anything. */
  get candidate(): Candidate | undefined {
    return this.#candidates.at(-1);
  }

  /** Since when a candidate waits for its quorum, ms of the monotonic clock; undefined: none does. */
  get unwitnessedMs(): number | undefined {
    return this.#unwitnessedMs;
  }

  /** Whether there is a candidate that this witness has not cosigned. */
  isWaitingFor(witness: VerifierKey): boolean {
    const newest = this.#candidates.at(-1);
    return newest !== undefined && !newest.cosigned.has(encodeVkey(witness));
  }

  /** Size of the newest checkpoint here that this witness has cosigned; 0 for none. */
  cosignedBy(witness: VerifierKey): number {
    const vkey = encodeVkey(witness);
    return this.#candidates.findLast(({ cosigned }) => cosigned.has(vkey))?.size ?? 0;
  }

  /** The log has a newer checkpoint, of which all files are on the disk. */
  offer(note: string): void {
    this.#newest = note;
  }

  /**
   * B1. Takes up the newest checkpoint, if it is time.
   *
   * @returns Whether there is another candidate now.
   */
  refresh(nowMs: number, everyMs: number): boolean {
    const note = this.#newest;
    if (note === undefined || nowMs - this.#takenUpMs < everyMs) return false;
    this.#newest = undefined;
    const opened = openCheckpoint(Buffer.from(note, "utf8"), this.key, []);
    // Whoever offers it has checked it. One that went back is brought too: witnesses will say so.
    if (!opened.ok || opened.value.note.text === this.candidate?.text) return false;
    this.#takenUpMs = nowMs;
    this.#candidates.push({ ...this.#candidateOf(opened.value), cosigned: new Map() });
    if (this.#candidates.length > CANDIDATES_MAX) this.#candidates.shift();
    this.#unwitnessedMs ??= this.#isQuorum([]) ? undefined : nowMs;
    return true;
  }

  /**
   * The question for a witness that has seen so much of the log.
   *
   * @returns Undefined: what is here does not lead from there to the candidate, or is not all here.
   */
  question(candidate: Candidate, oldSize: number): string | undefined {
    const { size, root, note } = candidate;
    const subtrees = this.#subtrees(size);
    try {
      const proof = consistencyProof(oldSize, size, subtrees);
      // Then it is our own disk that is wrong, and no witness's word is needed for that.
      const claim = { oldSize, oldRoot: rootAt(oldSize, subtrees), newSize: size, newRoot: root };
      if (!verifyConsistency({ ...claim, proof })) return undefined;
      return encodeAddCheckpoint({ oldSize, proof, checkpoint: note });
    } catch (error) {
      if (!(error instanceof TileError)) throw error;
      return undefined;
    }
  }

  /**
   * A witness has cosigned a candidate, which was checked.
   *
   * @throws What the disk reports; the line is kept with the next one.
   */
  cosigned({ text }: Candidate, key: VerifierKey, line: string): void {
    const of = this.#candidates.find((one) => one.text === text);
    if (of === undefined) return;
    of.cosigned.set(encodeVkey(key), { key, line });
    const isQuorum = this.#isQuorum([...of.cosigned.values()].map((one) => one.key));
    if (isQuorum && of === this.candidate) this.#unwitnessedMs = undefined;
    const next = { size: of.size, count: of.cosigned.size, isQuorum };
    if (!isBetter(next, this.#kept)) return;
    const note = of.note + [...of.cosigned.values()].map((one) => one.line).join("");
    this.#files.put(WITNESSED_PATH, Buffer.from(note, "utf8"));
    this.#files.settle(NOTHING);
    this.#kept = next;
    if (isQuorum) this.#onWitnessed(of.size, note);
  }

  /**
   * What a checkpoint that a witness shows is to what lies here. The log's own key must have signed it: a witness alone
   * shows nothing.
   */
  judge(theirs: Uint8Array): Contradiction {
    const { candidate } = this;
    const opened = openCheckpoint(theirs, this.key, []);
    if (!opened.ok || candidate === undefined) return "none";
    const { size, root } = opened.value;
    if (size > candidate.size) return "rollback";
    try {
      return sameHash(rootAt(size, this.#subtrees(candidate.size)), root) ? "none" : "fork";
    } catch (error) {
      if (!(error instanceof TileError)) throw error;
      return "none";
    }
  }

  #subtrees(size: number) {
    return subtreesFromTiles(size, (tile) => readTile(this.#files, tile));
  }

  #remember(bytes: Buffer): void {
    const { witnesses } = this.#policy;
    const opened = openCheckpoint(bytes, this.key, witnesses);
    // It is made anew: it shows what can be asked for again.
    if (!opened.ok) return;
    const { note, cosignatures, size } = opened.value;
    const keys = cosignatures.map(({ key }) => key);
    const cosigned = new Map(
      keys.map((key) => [encodeVkey(key), { key, line: linesBy(note, key)[0] as string }]),
    );
    this.#candidates.push({ ...this.#candidateOf(opened.value), cosigned });
    const isQuorum = this.#isQuorum(keys);
    this.#kept = { size, count: cosigned.size, isQuorum };
    if (isQuorum) this.#onWitnessed(size, bytes.toString("utf8"));
  }

  #candidateOf({ size, root, note }: OpenedCheckpoint): Candidate {
    // What a node has put beside its own signature may be too much, or wrong.
    const lines = [this.key, this.#coordinator].flatMap((key) => linesBy(note, key));
    return { size, root, text: note.text, note: encodeNote(note.text, lines) };
  }

  #isQuorum(keys: readonly VerifierKey[]): boolean {
    return hasQuorum(this.#policy, keys);
  }
}

/** One line at most: a checkpoint that was opened has no two that differ and are right. */
function linesBy(note: Note, key: VerifierKey): readonly string[] {
  return signaturesBy(note, key)
    .slice(0, 1)
    .map(({ bytes }) => signatureLine(key, bytes));
}

/** B3. */
function isBetter(
  next: { readonly size: number; readonly count: number; readonly isQuorum: boolean },
  kept: typeof next | undefined,
): boolean {
  if (kept === undefined || next.isQuorum !== kept.isQuorum) return next.isQuorum || !kept;
  return next.size > kept.size || (next.size === kept.size && next.count > kept.count);
}
