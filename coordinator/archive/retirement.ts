/**
 * Removes what is older than the archive's policy says, log by log.
 *
 * Q1. A log goes only when it has ended, all of it is here, and this coordinator's own cosignature of its end is
 *     old enough: a node's clock has no say.
 * Q2. Where there is a folder for it, all of it is on that disk first, each record shown to be what was signed.
 * Q3. Its head stays: `audit/retiring-log.ts`.
 */

import { dirname, join } from "node:path";
import { cosignedAt } from "../../audit/checkpoint.ts";
import { endedLog } from "../../audit/ended-log.ts";
import { LogFiles } from "../../audit/log-files.ts";
import { retiredOf } from "../../audit/retired-log.ts";
import { RetiringLog } from "../../audit/retiring-log.ts";
import { parseNote, signaturesBy, type VerifierKey } from "../../audit/signed-note.ts";
import { CHECKPOINT_PATH } from "../../audit/tiles.ts";
import { type Disk, listIfThere } from "../../ports/disk.ts";
import { errorMessage } from "../../ports/error-message.ts";
import { ColdCopy } from "./cold-copy.ts";

/** Files of a turn that are removed, and bundles that are copied: a few milliseconds of the archive's thread. */
const FILES_PER_TURN = 128;
const BUNDLES_PER_TURN = 8;
/** The archive is looked through so often, ms. */
export const LOOK_EVERY_MS = 600_000;

export type RetirementOptions = {
  readonly disk: Disk;
  /** Folder of all copies. */
  readonly dir: string;
  /** By which this coordinator's cosignatures are checked. */
  readonly witness: VerifierKey;
  /** Time that a log is kept after its end was cosigned, ms. */
  readonly keepMs: number;
  /** Where logs go before they are removed; undefined: nowhere. */
  readonly coldDir?: string | undefined;
  /** Closes a copy that may be open for what nodes ship. */
  readonly close: (origin: string) => void;
  readonly onRetired: (origin: string) => void;
  /** What could not be done, told once for each look. */
  readonly onFault: (origin: string, why: string) => void;
};

type Job = { readonly origin: string; turn(): boolean };

export class Retirement {
  readonly #options: RetirementOptions;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #origins: string[] = [];
  #job: Job | undefined;

  constructor(options: RetirementOptions) {
    this.#options = options;
  }

  /** A small part of what there is to do. True: there is more to do at once. Never throws. */
  turn(nowMs: number): boolean {
    const origin = this.#job?.origin ?? this.#nextOrigin(nowMs);
    if (origin === undefined) return false;
    try {
      this.#job ??= this.#jobOn(origin, nowMs);
      if (this.#job?.turn() !== true) this.#job = undefined;
    } catch (error) {
      this.#job = undefined;
      this.#options.onFault(origin, errorMessage(error));
    }
    return true;
  }

  #nextOrigin(nowMs: number): string | undefined {
    if (this.#origins.length === 0 && nowMs - this.#lookedAtMs >= LOOK_EVERY_MS) {
      this.#lookedAtMs = nowMs;
      this.#origins = this.#allLogs();
    }
    return this.#origins.shift();
  }

  /** `<mesh>/<node>/e<epoch>`. */
  #allLogs(): string[] {
    const { disk, dir } = this.#options;
    const below = (path: string): readonly string[] => {
      const names = namesIn(disk, join(dir, path));
      return names.map((name) => (path === "" ? name : `${path}/${name}`));
    };
    return below("")
      .flatMap(below)
      .flatMap(below)
      .filter((path) => /\/e[1-9][0-9]*$/.test(path));
  }

  #jobOn(origin: string, nowMs: number): Job | undefined {
    const { disk, dir, coldDir } = this.#options;
    const files = new LogFiles(disk, { home: dir, dir: join(dir, origin) });
    const retired = retiredOf(files);
    if (retired?.isDone) return undefined;
    // What was begun is gone on with: it was copied by then.
    if (retired !== undefined) return this.#removalOf(origin);
    const ended = this.#isOld(files, nowMs) ? endedLog(files) : undefined;
    if (ended === undefined) return undefined;
    if (coldDir === undefined) return this.#removalOf(origin);
    disk.makeFolder(coldDir);
    disk.syncFolder(dirname(coldDir));
    const to = new LogFiles(disk, { home: coldDir, dir: join(coldDir, origin) });
    const copy = new ColdCopy(ended, { from: files, to });
    const removal = this.#removalOf(origin);
    return { origin, turn: () => copy.turn(BUNDLES_PER_TURN) || removal.turn() };
  }

  #removalOf(origin: string): Job {
    const { disk, dir, close, onRetired } = this.#options;
    const retiring = new RetiringLog(disk, { home: dir, dir: join(dir, origin) });
    let isClosed = false;
    const turn = (): boolean => {
      // What is open has entries in memory that will not be there any more.
      if (!isClosed) close(origin);
      isClosed = true;
      const isMore = retiring.turn(FILES_PER_TURN);
      if (!isMore) onRetired(origin);
      return isMore;
    };
    return { origin, turn };
  }

  #isOld(files: LogFiles, nowMs: number): boolean {
    const { witness, keepMs } = this.#options;
    const bytes = files.read(CHECKPOINT_PATH);
    const note = bytes && parseNote(bytes);
    if (!note?.ok) return false;
    const times = signaturesBy(note.value, witness).flatMap(
      ({ bytes: signed }) => cosignedAt(witness, note.value.text, signed) ?? [],
    );
    return times.length > 0 && nowMs - Math.max(...times) * 1_000 >= keepMs;
  }
}

/** Names in a folder; none in what is no folder. */
function namesIn(disk: Disk, folder: string): readonly string[] {
  try {
    return listIfThere(disk, folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOTDIR") return [];
    throw error;
  }
}
