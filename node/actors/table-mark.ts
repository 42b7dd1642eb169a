import type { WalPosition } from "../audit/wal-signal.ts";
import type { Cost } from "../decision/facts.ts";

/**
 * Where the logs of the data loops ended in one moment. Whatever a loop lets through after it is
 * recorded at its place or behind it.
 */
export type LogMark = {
  /** Id of the node's start, as in the names of the log's files. */
  readonly run: string;
  /** By writer. */
  readonly ends: Readonly<Record<string, WalPosition>>;
};

/** What of an account lay in the table, looked at after the logs had ended there. */
export type TableMark = LogMark & {
  /** Held by nobody, and of no lease that had ended. */
  readonly unheld: Cost;
  /** By lease, in the book's order: the most of `unheld` that can be of it. */
  readonly open: readonly Cost[];
};

/**
 * What a log says of the run that crashed, where it is whole: the most that requests of each account
 * can have used since its mark. An account of which nothing is proven is missing.
 */
export type CrashProof = { readonly run: string; readonly used: ReadonlyMap<string, Cost> };
