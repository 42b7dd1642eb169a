import { strictDecimal } from "./strict-text.ts";
import type { LogReader } from "./tiles.ts";

/** Where the folder of a log says that its records were removed, all of them and for good. */
export const RETIRED_PATH = "retired";

/** A log of which the head alone is kept: its checkpoint, and hashes of 256 records each. */
export type Retired = {
  /** Leaves, and their root in hex, as its last checkpoint has them. */
  readonly size: number;
  readonly root: string;
  /** False while files are still being removed. */
  readonly isDone: boolean;
};

const DONE = "removed";
const UNDER_WAY = "removing";

/** It is the folder's own word: whoever holds a log against it says how many records were not seen. */
export function retiredOf(reader: LogReader): Retired | undefined {
  const bytes = reader.read(RETIRED_PATH);
  if (bytes === undefined) return undefined;
  const [decimal = "", root = "", word, end] = Buffer.from(bytes).toString("latin1").split("\n");
  const size = strictDecimal(decimal);
  const isWhole = end === "" && (word === DONE || word === UNDER_WAY);
  if (size === undefined || !/^[0-9a-f]{64}$/.test(root) || !isWhole) return undefined;
  return { size, root, isDone: word === DONE };
}

export function encodeRetired({ size, root, isDone }: Retired): Buffer {
  return Buffer.from(`${size}\n${root}\n${isDone ? DONE : UNDER_WAY}\n`, "latin1");
}
