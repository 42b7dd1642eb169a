/**
 * Looks records up in what the node itself has written: in the WAL first, then in the log's
 * entries.
 *
 * Answers people, never the request path. Nothing is verified here: `audit/verify-log.ts` does
 * that.
 */

import { AuditFault } from "../../audit/audit-fault.ts";
import { decodeRecord } from "../../audit/leaf.ts";
import type { AuditRecord, DecisionRecord, Place } from "../../audit/record.ts";
import { EntryFiles } from "./entry-files.ts";
import { type IndexAnswer, indexedLeaves } from "./request-index.ts";
import { newestWalFirst, scanWalFile } from "./scan-wal.ts";

/** Bytes that one question reads at most. */
export const FIND_BYTES_MAX = 2 * 1024 * 1024 * 1024;
/** A request's last record is written at most so long after its id was drawn, ms. */
export const REQUEST_MS_MAX = 24 * 60 * 60 * 1_000;
/** How far a file's time may lie before that of a record in it, because the clock was set, ms. */
export const CLOCK_SLACK_MS = 10 * 60 * 1_000;
/** How far the times of two records may contradict the order in which they were written, ms. */
const ORDER_SLACK_MS = 5_000;
/** Decisions that one question gives at most. */
export const RECENT_DECISIONS_MAX = 1_000;

/** Where a node's records are. */
export type RecordFolders = {
  readonly walDir: string;
  /** Folder of one log; left out, only the WAL is looked at. */
  readonly logDir?: string;
};

/** As found: with its place, if it has one yet. */
export type FoundRecord = AuditRecord & Partial<Place>;

/**
 * All records of one request, oldest first; none when there are none.
 *
 * The time inside the id (UUIDv7) tells where they can be. In the log, times are taken to rise: a
 * record that a clock step moved away from there may not be found. When `FIND_BYTES_MAX` is
 * reached, as it may be for the end of a request that is still running, what was found by then is
 * given.
 *
 * @param requestId As in `rid`: lower case.
 * @throws AuditFault A file cannot be read, or `FIND_BYTES_MAX` was reached and nothing found.
 */
export async function findRequest(
  folders: RecordFolders,
  requestId: string,
): Promise<FoundRecord[]> {
  const found = new Findings((record) => mentions(record, requestId));
  try {
    await gatherRequest(folders, requestId, found);
  } catch (fault) {
    if (!(fault instanceof TooMuchToRead) || found.size === 0) throw fault;
  }
  return found.records.sort(byTimeAndPhase);
}

async function gatherRequest(
  { walDir, logDir }: RecordFolders,
  requestId: string,
  found: Findings,
): Promise<void> {
  const atMs = Number.parseInt(requestId.replace("-", "").slice(0, 12), 16);
  const toMs = atMs + REQUEST_MS_MAX;
  const budget = new ReadBudget();
  const onBytes = (bytes: number): void => budget.spend(bytes);
  for (const file of await newestWalFirst(walDir)) {
    if (isComplete(found.records, requestId)) return;
    if (file.lastMs < atMs - CLOCK_SLACK_MS) continue;
    const isBeyond = (t: number): boolean => t > toMs;
    await scanWalFile(file, requestId, { onBytes, isBeyond, onLeaf: (leaf) => found.take(leaf) });
  }
  if (logDir === undefined || isComplete(found.records, requestId)) return;
  const entries = await EntryFiles.open(logDir);
  const answer = indexedLeaves(logDir, requestId, { from: 0, to: entries.size });
  for await (const bundle of entries.holding(leavesOf(answer, entries.size), onBytes)) {
    for (const leaf of bundle) if (leaf.includes(requestId)) found.take(leaf);
    if (isComplete(found.records, requestId)) return;
  }
  // An index may be missing or wrong: what it does not know is looked for.
  if (isKnownWhole(answer, entries.size) && isDecided(found.records, requestId)) return;
  for await (const bundle of entries.between({ fromMs: atMs - ORDER_SLACK_MS, toMs }, onBytes)) {
    for (const leaf of bundle) if (leaf.includes(requestId)) found.take(leaf);
    if (isComplete(found.records, requestId)) return;
  }
}

/** Leaves that the index names, and the few at the end of the log that it does not cover yet. */
function* leavesOf({ leaves, uncovered }: IndexAnswer, size: number): Generator<number> {
  yield* leaves;
  const last = uncovered.at(-1);
  if (last === undefined || last.first + last.leaves < size) return;
  for (let leaf = last.first; leaf < size; leaf++) yield leaf;
}

/** Nothing but the end of the log is without an index. */
function isKnownWhole({ uncovered }: IndexAnswer, size: number): boolean {
  return uncovered.every(({ first, leaves }) => first + leaves >= size);
}

function isDecided(records: readonly FoundRecord[], requestId: string): boolean {
  return records.some(
    (record) =>
      record.k === "flood" ||
      (record.k === "decision" && record.ph === "request" && record.rid === requestId),
  );
}

/**
 * The latest decisions on one agent, newest first.
 *
 * @param agent Its SPIFFE id, as in `ag`.
 * @param count At most `RECENT_DECISIONS_MAX`.
 * @throws AuditFault A file cannot be read. When `FIND_BYTES_MAX` is reached first, what was found
 *   by then is all there is.
 */
export async function recentDecisions(
  folders: RecordFolders,
  agent: string,
  count: number,
): Promise<(DecisionRecord & Partial<Place>)[]> {
  const wanted = Math.min(count, RECENT_DECISIONS_MAX);
  const needle = `"ag":${JSON.stringify(agent)}`;
  const latest = new LatestDecisions(wanted, agent);
  let bytesLeft = FIND_BYTES_MAX;
  const spend = (bytes: number): void => {
    bytesLeft -= bytes;
  };
  for (const file of await newestWalFirst(folders.walDir)) {
    if (bytesLeft <= 0 || latest.isFilledBy(file.lastMs)) return latest.records();
    const tail: Buffer[] = [];
    await scanWalFile(file, needle, {
      onBytes: spend,
      onLeaf: (leaf) => {
        // A copy, or the piece that it was read in would stay with it.
        if (leaf.includes(DECISION)) tail.push(Buffer.from(leaf));
        if (tail.length > wanted) tail.shift();
      },
    });
    // Newest first, so that of those with one time the newer are the ones that stay.
    for (const leaf of tail.reverse()) latest.take(leaf);
  }
  if (folders.logDir === undefined) return latest.records();
  const entries = await EntryFiles.open(folders.logDir);
  for await (const bundle of entries.backwards(spend)) {
    for (const leaf of bundle.toReversed()) if (leaf.includes(needle)) latest.take(leaf);
    if (bytesLeft <= 0 || latest.isFilledBy(timeOf(bundle[0]))) break;
  }
  return latest.records();
}

const DECISION = '"k":"decision"';

/** Records found, each once: the log's copy of a record stands for the WAL's. */
class Findings {
  readonly #isWanted: (record: FoundRecord) => boolean;
  readonly #byText = new Map<string, FoundRecord>();

  constructor(isWanted: (record: FoundRecord) => boolean) {
    this.#isWanted = isWanted;
  }

  get records(): FoundRecord[] {
    return [...this.#byText.values()];
  }

  get size(): number {
    return this.#byText.size;
  }

  /** Forgets all others. */
  keep(records: readonly FoundRecord[]): void {
    this.#byText.clear();
    for (const record of records) this.#byText.set(textWithoutPlace(record), record);
  }

  take(leaf: Uint8Array): void {
    const decoded = decodeRecord(leaf);
    if (!decoded.ok || !this.#isWanted(decoded.record)) return;
    this.#byText.set(textWithoutPlace(decoded.record), decoded.record);
  }
}

class LatestDecisions {
  readonly #count: number;
  readonly #found: Findings;

  constructor(count: number, agent: string) {
    this.#count = count;
    this.#found = new Findings((record) => record.k === "decision" && record.ag === agent);
  }

  take(leaf: Uint8Array): void {
    this.#found.take(leaf);
    // Twice as many may gather before the oldest are dropped, so that sorting stays rare.
    if (this.#found.size > 2 * this.#count) this.#found.keep(this.records());
  }

  /** True when nothing that is older than `atMs` can be among them any more. */
  isFilledBy(atMs: number): boolean {
    if (this.#found.size < this.#count) return false;
    const oldest = this.records().at(-1);
    return oldest === undefined || oldest.t > atMs + ORDER_SLACK_MS;
  }

  records(): (DecisionRecord & Partial<Place>)[] {
    return this.#found.records
      .filter((record) => record.k === "decision")
      .sort((a, b) => b.t - a.t)
      .slice(0, this.#count);
  }
}

class TooMuchToRead extends AuditFault {}

class ReadBudget {
  #bytesLeft = FIND_BYTES_MAX;

  spend(bytes: number): void {
    this.#bytesLeft -= bytes;
    if (this.#bytesLeft < 0) {
      throw new TooMuchToRead(`more than ${FIND_BYTES_MAX} bytes would have to be read`);
    }
  }
}

/** Nothing more can be written about a request that was refused or is settled. */
function isComplete(records: readonly FoundRecord[], requestId: string): boolean {
  const own = records.filter((record) => "rid" in record && record.rid === requestId);
  const decision = own.find((record) => record.k === "decision" && record.ph === "request");
  if (decision?.k !== "decision") return false;
  return decision.dec === "deny" || own.some(({ k }) => k === "settle");
}

function mentions(record: FoundRecord, requestId: string): boolean {
  if (record.k === "flood") return record.first === requestId || record.last === requestId;
  return "rid" in record && record.rid === requestId;
}

function textWithoutPlace(record: FoundRecord): string {
  const { ep: _ep, seq: _seq, ...rest } = record;
  return JSON.stringify(rest);
}

function byTimeAndPhase(a: FoundRecord, b: FoundRecord): number {
  return a.t - b.t || phaseOf(a) - phaseOf(b);
}

function phaseOf(record: FoundRecord): number {
  if (record.k === "settle") return 2;
  return record.k === "decision" && record.ph === "response" ? 1 : 0;
}

function timeOf(leaf: Uint8Array | undefined): number {
  const decoded = leaf && decodeRecord(leaf);
  return decoded?.ok ? decoded.record.t : Number.POSITIVE_INFINITY;
}
