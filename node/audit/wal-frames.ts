/**
 * The frames of all WAL files, in the order in which they enter the log.
 *
 * F1. Runs come one after the other: all of a run, then the next one.
 * F2. Within a run writers are merged by (time, writer); a writer's own order is never changed, so
 *     how far it was read is one position.
 * F3. While a writer has more that may be read, nothing later than its next frame is given.
 * F4. Of the present run only what is on the disk is given.
 */

import type { Disk } from "../../ports/disk.ts";
import type { Consumed, ReadPosition } from "./consumed.ts";
import type { MarkReader } from "./leaf-marks.ts";
import { CONTROL_WRITER, listWalFiles, type WalFile, walPath } from "./wal-files.ts";
import type { WalPosition } from "./wal-signal.ts";
import { isBefore, type WalItem, WalSource } from "./wal-source.ts";

export type WalFramesOptions = {
  readonly disk: Disk;
  readonly dir: string;
  /** The present run, and who writes in it. */
  readonly run: string;
  readonly writers: readonly string[];
  /** What a writer of the present run tells of its leaves. */
  readonly marksOf?: (writer: string) => MarkReader | undefined;
  /** How far earlier runs of this thread came. */
  readonly consumed: Pick<Consumed, "doneBefore" | "positions">;
};

export type WalFrame = {
  readonly item: WalItem;
  readonly run: string;
  readonly writer: string;
  /** The first one that is given of its run. */
  readonly isFirstOfRun: boolean;
};

type Run = { readonly id: string; readonly sources: readonly WalSource[]; isBegun: boolean };

export class WalFrames {
  readonly #options: WalFramesOptions;
  readonly #live: Run;
  /** Earlier runs that are not read whole, oldest first. */
  readonly #earlier: Run[];

  constructor(options: WalFramesOptions) {
    this.#options = options;
    const { disk, dir, run, consumed } = options;
    const files = listWalFiles(disk, dir).filter((file) => file.run >= consumed.doneBefore);
    const runs = new Set(files.map((file) => file.run).filter((id) => id < run));
    this.#earlier = [...runs].map((id) => this.#earlierRun(id, files));
    this.#live = this.#runOf(run, options.writers);
  }

  /** True while frames of earlier runs are being given. */
  get isCatchingUp(): boolean {
    return this.#earlier.length > 0;
  }

  /** Lets what is on the disk of the present run be given. */
  allow(synced: readonly { readonly name: string; readonly position: WalPosition }[]): void {
    for (const { name, position } of synced) {
      this.#live.sources.find(({ writer }) => writer === name)?.allow(position);
    }
  }

  /** Removes the next frame; `undefined` when there is none now. Its bytes stand until the next `take`. */
  take(): WalFrame | undefined {
    for (let run = this.#earlier[0]; run !== undefined; run = this.#earlier[0]) {
      const frame = takeFrom(run);
      if (frame !== undefined) return frame;
      for (const source of run.sources) source.close();
      this.#earlier.shift();
    }
    return takeFrom(this.#live);
  }

  /** How far everything was read that `take` gave. */
  consumed(): Pick<Consumed, "doneBefore" | "positions"> {
    const runs = [...this.#earlier, this.#live];
    return {
      doneBefore: (runs[0] as Run).id,
      positions: runs.flatMap(({ id, sources }) =>
        sources.map(({ writer, takenTo }) => ({ run: id, writer, ...takenTo })),
      ),
    };
  }

  /** Files that `consumed` has no further need of. */
  static spent(
    { disk, dir, run }: Pick<WalFramesOptions, "disk" | "dir" | "run">,
    consumed: Pick<Consumed, "doneBefore" | "positions">,
  ): readonly WalFile[] {
    const positions = new Map(consumed.positions.map((one) => [keyOf(one), one]));
    const control = positions.get(keyOf({ run, writer: CONTROL_WRITER }));
    // Until this run's first record is in the log, the last run's files say how that one ended.
    const isRunOnRecord = control !== undefined && isBefore({ fileNo: 1, bytes: 0 }, control);
    return listWalFiles(disk, dir).filter((file) => {
      if (file.run < consumed.doneBefore) return isRunOnRecord;
      // This run's `boot` record stays where the next start will look for it.
      if (file.run === run && file.writer === CONTROL_WRITER && file.no === 1) return false;
      return file.no < (positions.get(keyOf(file))?.fileNo ?? 0);
    });
  }

  close(): void {
    for (const { sources } of [...this.#earlier, this.#live]) {
      for (const source of sources) source.close();
    }
  }

  #earlierRun(id: string, files: readonly WalFile[]): Run {
    const own = files.filter((file) => file.run === id);
    const run = this.#runOf(id, [...new Set(own.map(({ writer }) => writer))]);
    for (const source of run.sources) {
      const last = own.findLast(({ writer }) => writer === source.writer);
      if (last !== undefined) source.allow({ fileNo: last.no, bytes: this.#sizeOf(last) });
    }
    return run;
  }

  #runOf(id: string, writers: readonly string[]): Run {
    const { disk, dir, consumed, run, marksOf } = this.#options;
    const sources = [...writers].sort().map((writer) => {
      const at = consumed.positions.find((one) => keyOf(one) === keyOf({ run: id, writer }));
      // Marks are told from a writer's first frame on.
      const marks = id === run && at === undefined ? marksOf?.(writer) : undefined;
      const from = at ?? { fileNo: 0, bytes: 0 };
      return new WalSource({ disk, dir, run: id, writer, at: from, marks });
    });
    return { id, sources, isBegun: false };
  }

  #sizeOf(file: WalFile): number {
    const { disk, dir } = this.#options;
    const fd = disk.open(walPath(dir, file));
    try {
      return disk.size(fd);
    } finally {
      disk.close(fd);
    }
  }
}

function takeFrom(run: Run): WalFrame | undefined {
  let source: WalSource | undefined;
  let item: WalItem | undefined;
  for (const each of run.sources) {
    const head = each.head();
    // Sources stand in the order of their names, so the first of equal times goes first.
    if (head !== undefined && (item === undefined || head.t < item.t))
      [source, item] = [each, head];
  }
  if (source === undefined || item === undefined) return undefined;
  const isFirstOfRun = !run.isBegun;
  run.isBegun = true;
  source.take();
  return { item, run: run.id, writer: source.writer, isFirstOfRun };
}

function keyOf({ run, writer }: Pick<ReadPosition, "run" | "writer">): string {
  return `${run}-${writer}`;
}
