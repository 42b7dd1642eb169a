import type { Cancel } from "./clock.ts";

/** Follows a file that was read a moment ago, until the answer is called. */
export type WatchFile = (of: {
  readonly path: string;
  /**
   * What it holds, at first and whenever it has changed and then looked the same twice: nobody reads half of what is
   * being written, nor misses what was written just after the first look.
   */
  readonly onChange: (bytes: Uint8Array) => void;
  /** It cannot be read; told once, until it can be. */
  readonly onProblem: (detail: string) => void;
}) => Cancel;
