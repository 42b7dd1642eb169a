import type { PairedVerdict, Range } from "./paired.ts";

/** How long and how much to measure. */
export type BenchOptions = {
  /** Of the measured part, without set-up; undefined: as the bench thinks right. */
  readonly durationMs: number | undefined;
  /** Full N, as results are recorded with; otherwise a short look. */
  readonly isFull: boolean;
  /** Sizes of the mesh, for a bench that measures several; undefined: as it thinks right. */
  readonly nodes?: readonly number[] | undefined;
  /** Records of the log, for a bench that writes one; undefined: as it thinks right. */
  readonly records?: number | undefined;
  /** The result is kept: so may be what is drawn from it. */
  readonly isRecorded: boolean;
};

/** One figure. `limit` is compared with the figure's entry in budgets.json. */
export type Figure = {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** Present for ratios of interleaved pairs, which are judged as such. */
  readonly pairs?: PairedVerdict;
  /** Least and most of the rounds whose median or maximum the value is. */
  readonly range?: Range;
};

export type BenchResult = {
  /** What was going on while it was measured: rates, sizes, counts. */
  readonly load: string;
  readonly figures: readonly Figure[];
  /** Figures that cannot be measured on this machine, by name, each with the reason. */
  readonly skipped?: ReadonlyMap<string, string>;
  /** What is easier to read side by side; the first row is its head. */
  readonly table?: readonly (readonly string[])[];
  /** What a reader must know to believe the figures. */
  readonly notes: readonly string[];
};

export type Bench = {
  readonly name: string;
  /** What it answers, as one question. */
  readonly question: string;
  readonly run: (options: BenchOptions, budget: Budget) => Promise<BenchResult>;
};

/** Limits of one bench, by figure. */
export type Budget = Readonly<Record<string, { readonly must: number; readonly aim?: number }>>;
