// The verifier: everything that can be told about a log from its files and public keys alone.
//
// V1. Hashes are made from the entries; a tile is compared with them and never believed.
// V2. Each sort of damage has its own code, so that a finding says what was done, and where.
// V3. Work is bounded by what is there: a signed size that the files do not back up ends the walk.
//
// What it cannot see: logs that are withheld whole, and what was never written. Of entries that were
// removed once others had them, only the hashes are verified, and their number is told.

import type { CheckpointFlaw, OpenedCheckpoint } from "./checkpoint.ts";
import { showsItsEnd } from "./ended-log.ts";
import { decodeRecord, isSealed } from "./leaf.ts";
import { LeafLint, LINT_LIMITS, type LintCode, type LintLimits } from "./leaf-lint.ts";
import type { LogPolicy } from "./log-policy.ts";
import { HASH_BYTES, leafHash, sameHash } from "./merkle.ts";
import { decisionsIn } from "./record.ts";
import { retiredOf } from "./retired-log.ts";
import type { VerifierKey } from "./signed-note.ts";
import { TileEdge } from "./tile-edge.ts";
import {
  type Bundle,
  bundlePath,
  bundlesOf,
  CHECKPOINT_PATH,
  hashesIn,
  type LogReader,
  readBundle,
  readTile,
  TILE_WIDTH,
  tilePath,
} from "./tiles.ts";
import { TreeCheck } from "./tree-check.ts";
import { verifyHead } from "./verify-head.ts";
import { type HeadsRead, readHeads, WITNESSED_PATH, type WitnessedHead } from "./witnessed.ts";

/** Findings after which verification stops. */
export const FINDINGS_MAX = 1_000;

export type FindingCode =
  | "checkpoint_missing"
  | CheckpointFlaw
  | "quorum_not_met"
  | "quorum_behind"
  | "bundle_missing"
  | "bundle_truncated"
  | "bundle_trailing_bytes"
  | "tile_missing"
  | "tile_width_wrong"
  | "entry_altered"
  | "entry_tile_differ"
  | "leaf_tile_altered"
  | "upper_tile_altered"
  | "root_differs"
  | "leaf_malformed"
  | "leaf_unsealed"
  | LintCode
  | "rolled_back"
  | "anchor_root_differs"
  | "time_before_anchor"
  | "time_after_anchor"
  | "retired_unended"
  | "stopped_at_findings_max";

export type Finding = {
  readonly code: FindingCode;
  readonly detail: string;
  /** The leaf concerned, if it is one. */
  readonly index?: number;
};

/** A checkpoint of this log that somebody else kept: a witness, the meta-log, an earlier audit. */
export type Anchor = {
  readonly size: number;
  readonly root: Uint8Array;
  /** When it was cosigned, seconds since the Unix epoch. */
  readonly timeSeconds?: number;
  /** It may have waited for long: its time says nothing of what came after it. */
  readonly isLate?: boolean;
};

export type AnchorLimits = {
  /** How far the clocks of node and witness may differ, ms. */
  readonly skewMsMax: number;
  /** How long after its signing a checkpoint may be cosigned, ms. */
  readonly cosignDelayMsMax: number;
  /** How much younger a record may be than the quorum's cosignatures, ms. */
  readonly quorumDelayMsMax: number;
};

export const ANCHOR_LIMITS: AnchorLimits = {
  skewMsMax: 5_000,
  cosignDelayMsMax: 60_000,
  quorumDelayMsMax: 15 * 60_000,
};

export type VerifyRequest = {
  readonly reader: LogReader;
  /** The log's key, known beforehand: not taken from the log. */
  readonly logKey: VerifierKey;
  /** Witnesses and quorum. Without it no cosignature is asked for. */
  readonly policy?: LogPolicy;
  readonly anchors?: readonly Anchor[];
  /**
   * Entries before this place may be gone; their hashes must be there. Asked after an entry was not found, since
   * a log that lives goes on removing. Default: none may be.
   */
  readonly minimum?: () => number;
  readonly lintLimits?: LintLimits;
  readonly anchorLimits?: AnchorLimits;
  /** Called after each bundle. */
  readonly onProgress?: (progress: { readonly leaves: number; readonly size: number }) => void;
};

export type VerifyReport = {
  /** Empty: nothing was found wrong. */
  readonly findings: readonly Finding[];
  /** Absent when the checkpoint could not be believed; then nothing else was looked at. */
  readonly checkpoint?: OpenedCheckpoint;
  /** The newest checkpoint that the policy's quorum has cosigned, if there is one: this, or one before it. */
  readonly quorum?: WitnessedHead;
  /** Leaves whose entries were read and hashed. */
  readonly leaves: number;
  /** Leaves of which only the hash was there. */
  readonly pruned: number;
  /** Its records were removed for good, all of them: what is left has the signed root, and no more was looked at. */
  readonly isRetired: boolean;
  /** Decisions that these leaves stand for. */
  readonly decisions: number;
  /** False: there were more request ids than the lint remembers, so older replays went unseen. */
  readonly sawAllIds: boolean;
};

/** Verifies a whole log. Never throws for what it reads, whatever that is. */
export function verifyLog(request: VerifyRequest): VerifyReport {
  const nothing = { leaves: 0, pruned: 0, isRetired: false, decisions: 0, sawAllIds: true };
  const { reader, logKey, policy } = request;
  const witnessed = reader.read(WITNESSED_PATH);
  const checkpoint = reader.read(CHECKPOINT_PATH);
  if (checkpoint === undefined) {
    return { ...nothing, findings: [{ code: "checkpoint_missing", detail: CHECKPOINT_PATH }] };
  }
  const heads = readHeads({ checkpoint, witnessed }, logKey, policy);
  if (!heads.ok) {
    return { ...nothing, findings: [{ code: heads.flaw, detail: heads.detail }] };
  }
  const { size, root } = heads.value.checkpoint;
  const retired = retiredOf(reader);
  const isRetired = retired?.size === size && retired.root === Buffer.from(root).toString("hex");
  return new LogWalk(request, heads.value).walk(isRetired);
}

/** Tells that a walk ends early, past all the loops it is in. */
class EnoughFindings extends Error {}

class LogWalk {
  readonly #request: VerifyRequest;
  readonly #checkpoint: OpenedCheckpoint;
  readonly #quorum: WitnessedHead | undefined;
  #isBehindTold = false;
  readonly #anchors: readonly Anchor[];
  readonly #limits: AnchorLimits;
  readonly #lint: LeafLint;
  readonly #findings: Finding[] = [];
  readonly #fromEntries: TreeCheck;
  /** The tree by the stored tiles of level 0, from where it first differs from the entries. */
  #fromTiles: TreeCheck | undefined;
  /** Leaves whose entry and stored hash differ. */
  readonly #differing: number[] = [];
  /** True while every leaf so far had a hash, from its entry or its tile: the root can be told. */
  #isWhole = true;
  #leaves = 0;
  #pruned = 0;
  #decisions = 0;

  constructor(request: VerifyRequest, { checkpoint, beside, quorum }: HeadsRead) {
    this.#request = request;
    this.#checkpoint = checkpoint;
    this.#quorum = quorum;
    const also = beside === undefined ? [] : [{ ...beside, isLate: true }];
    this.#anchors = [...(request.anchors ?? []), ...also];
    this.#limits = request.anchorLimits ?? ANCHOR_LIMITS;
    this.#lint = new LeafLint(checkpoint.origin, request.lintLimits ?? LINT_LIMITS);
    this.#fromEntries = new TreeCheck(request.reader, new TileEdge(), FINDINGS_MAX);
  }

  /** @param isRetired Only the head is there. */
  walk(isRetired: boolean): VerifyReport {
    try {
      this.#checkSignersAndAnchors();
      if (isRetired) this.#walkHead();
      else this.#walkRecords();
    } catch (error) {
      if (!(error instanceof EnoughFindings)) throw error;
    }
    return {
      findings: this.#findings,
      checkpoint: this.#checkpoint,
      ...(this.#quorum && { quorum: this.#quorum }),
      leaves: this.#leaves,
      pruned: this.#pruned,
      isRetired,
      decisions: this.#decisions,
      sawAllIds: this.#lint.sawAllIds,
    };
  }

  #walkRecords(): void {
    this.#checkAnchorsAt(0, () => this.#fromEntries.edge.root());
    this.#walkBundles();
    if (this.#isWhole) this.#judgeTrees();
  }

  #walkHead(): void {
    const { size, root } = this.#checkpoint;
    this.#pruned = size;
    // Smaller anchors would need hashes that were removed with the records.
    this.#checkAnchorsAt(size, () => root);
    if (!showsItsEnd(this.#request.reader, this.#checkpoint)) {
      this.#find("retired_unended", "nothing shows that the log had ended");
    }
    for (const { code, detail } of verifyHead(
      this.#request.reader,
      this.#checkpoint,
      FINDINGS_MAX,
    )) {
      this.#find(code, detail);
    }
  }

  #find(code: FindingCode, detail: string, index?: number): void {
    if (this.#findings.length === FINDINGS_MAX) {
      this.#findings.push({ code: "stopped_at_findings_max", detail: `${FINDINGS_MAX}` });
      throw new EnoughFindings();
    }
    this.#findings.push(index === undefined ? { code, detail } : { code, detail, index });
  }

  #checkSignersAndAnchors(): void {
    const { size, cosignatures } = this.#checkpoint;
    const { policy } = this.#request;
    if (policy !== undefined && this.#quorum === undefined) {
      const count = `${cosignatures.length} of ${policy.witnesses.length} witnesses`;
      this.#find("quorum_not_met", count);
    }
    for (const anchor of this.#anchors) {
      if (anchor.size > size) this.#find("rolled_back", `${anchor.size} leaves were seen before`);
    }
  }

  #walkBundles(): void {
    const { size } = this.#checkpoint;
    for (const bundle of bundlesOf(size)) {
      this.#walkBundle(bundle);
      const leaves = Math.min((bundle.index + 1) * TILE_WIDTH, size);
      this.#request.onProgress?.({ leaves, size });
    }
  }

  #walkBundle(bundle: Bundle): void {
    const first = bundle.index * TILE_WIDTH;
    const stored = this.#storedHashes(bundle);
    const entries = readBundle(this.#request.reader, bundle);
    const isGone = this.#isPruned(bundle, entries);
    if (isGone) this.#pruned += bundle.width;
    else if (!entries.ok) this.#find(entries.flaw, `${bundlePath(bundle)}: ${entries.detail}`);
    const hashes = entries.ok ? entries.value.map(leafHash) : stored;
    this.#isWhole &&= hashes !== undefined;
    if (this.#isWhole && hashes !== undefined) this.#grow(first, hashes, stored ?? hashes);
    for (let i = 0; i < bundle.width; i++) {
      if (entries.ok) this.#look(entries.value[i] as Uint8Array, first + i);
      else this.#lint.skip();
    }
  }

  /** Whether a bundle was removed in order, as the log's own folder says. */
  #isPruned({ index, width }: Bundle, entries: ReturnType<typeof readBundle>): boolean {
    if (entries.ok || entries.flaw !== "bundle_missing") return false;
    return index * TILE_WIDTH + width <= (this.#request.minimum?.() ?? 0);
  }

  /** Adds the leaves of a bundle: by their entries, and from the first difference by their tile. */
  #grow(first: number, hashes: readonly Uint8Array[], stored: readonly Uint8Array[]): void {
    const differing: number[] = [];
    for (let i = 0; i < hashes.length; i++) {
      if (!sameHash(hashes[i] as Uint8Array, stored[i] as Uint8Array)) differing.push(first + i);
    }
    if (differing.length > 0) this.#fromTiles ??= this.#fromEntries.fork();
    for (const hash of this.#fromTiles ? stored : []) this.#fromTiles?.append(hash);
    // Bounded like the findings that come of it.
    this.#differing.push(...differing.slice(0, FINDINGS_MAX - this.#differing.length));
    for (let i = 0; i < hashes.length; i++) {
      this.#fromEntries.append(hashes[i] as Uint8Array);
      this.#checkAnchorsAt(first + i + 1, () => this.#fromEntries.edge.root());
    }
  }

  #storedHashes(bundle: Bundle): Uint8Array[] | undefined {
    const tile = { level: 0, ...bundle };
    const bytes = readTile(this.#request.reader, tile);
    if (bytes === undefined) {
      this.#find("tile_missing", tilePath(tile));
      return undefined;
    }
    if (bytes.length !== tile.width * HASH_BYTES) {
      this.#find("tile_width_wrong", `${tilePath(tile)}: ${bytes.length} bytes`);
      return undefined;
    }
    return hashesIn(bytes);
  }

  #look(entry: Uint8Array, index: number): void {
    this.#leaves++;
    const leaf = decodeRecord(entry);
    if (!leaf.ok || !isSealed(leaf.record)) {
      if (!leaf.ok) this.#find("leaf_malformed", `${leaf.flaw}: ${leaf.detail}`, index);
      else this.#find("leaf_unsealed", "has neither ep nor seq", index);
      this.#lint.skip();
      return;
    }
    const { record } = leaf;
    this.#decisions += decisionsIn(record);
    this.#lint.look(record, (code, detail) => this.#find(code, detail, index));
    for (const { size, timeSeconds, isLate = false } of this.#anchors) {
      if (timeSeconds === undefined) continue;
      this.#checkTime(record.t, index, { size, timeMs: timeSeconds * 1_000, isLate });
    }
    this.#checkQuorumAge(record.t, index);
  }

  /** What the quorum has not seen yet is young, by the records' own time. */
  #checkQuorumAge(t: number, index: number): void {
    const { size = 0, timeSeconds } = this.#quorum ?? {};
    if (timeSeconds === undefined || index < size || this.#isBehindTold) return;
    const behindMs = t - timeSeconds * 1_000;
    if (behindMs <= this.#limits.quorumDelayMsMax) return;
    this.#isBehindTold = true;
    this.#find("quorum_behind", `${behindMs} ms after what was witnessed last`, index);
  }

  /**
   * What was there when a witness signed is not younger than that, and what came after not older.
   */
  #checkTime(
    t: number,
    index: number,
    anchor: { readonly size: number; readonly timeMs: number; readonly isLate: boolean },
  ): void {
    const { skewMsMax, cosignDelayMsMax } = this.#limits;
    // The witness's time is cut to whole seconds, hence one more.
    if (index < anchor.size && t > anchor.timeMs + 1_000 + skewMsMax) {
      this.#find("time_after_anchor", `${t - anchor.timeMs} ms`, index);
    }
    if (
      !anchor.isLate &&
      index >= anchor.size &&
      t < anchor.timeMs - skewMsMax - cosignDelayMsMax
    ) {
      this.#find("time_before_anchor", `${anchor.timeMs - t} ms`, index);
    }
  }

  #checkAnchorsAt(size: number, root: () => Uint8Array): void {
    for (const anchor of this.#anchors) {
      if (anchor.size === size && !sameHash(anchor.root, root())) {
        this.#find("anchor_root_differs", `another root at size ${size}`);
      }
    }
  }

  /** Says which side was changed where entries and stored tiles differ: the signed root decides. */
  #judgeTrees(): void {
    const { root } = this.#checkpoint;
    this.#fromEntries.end();
    this.#fromTiles?.end();
    const isEntriesRight = sameHash(this.#fromEntries.edge.root(), root);
    const isTilesRight =
      this.#fromTiles !== undefined && sameHash(this.#fromTiles.edge.root(), root);
    if (!isEntriesRight) this.#find("root_differs", "the entries do not have the signed root");
    for (const index of this.#differing) {
      if (isEntriesRight) this.#find("leaf_tile_altered", "hash in the tile of level 0", index);
      else if (isTilesRight) this.#find("entry_altered", "is not what was hashed", index);
      else this.#find("entry_tile_differ", "neither has the signed root", index);
    }
    const tree = isTilesRight && this.#fromTiles ? this.#fromTiles : this.#fromEntries;
    for (const { code, path } of tree.wrong) {
      // Without a tree that has the signed root there is nothing to hold an upper tile against.
      const canTell = isEntriesRight || isTilesRight || code !== "upper_tile_altered";
      if (canTell) this.#find(code, path);
    }
  }
}
