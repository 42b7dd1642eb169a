import { readFileSync, statSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BUNDLE_BYTES_MAX } from "../policy/defaults.ts";

const NAME = "last-policy.bundle";

/**
 * Keeps each bundle that comes into force in the place of the one before, for whoever takes this node's place: that one compiles it before its turn.
 * Nobody believes it. What is in force says the mesh's signed record, and what was compiled of the file counts only
 * where both are the same bytes; so a file that is old, torn or forged costs time and nothing else.
 *
 * @param folder The node's own.
 */
export function lastBundleKeeper(
  folder: string,
  onFault: (error: unknown) => void,
): (bundle: Uint8Array) => void {
  const path = join(folder, NAME);
  let last = Promise.resolve();
  return (bundle) => {
    // One after the other: the newest is the last.
    last = last
      .then(() => writeFile(`${path}.new`, bundle, { mode: 0o600 }))
      .then(() => rename(`${path}.new`, path))
      .catch(onFault);
  };
}

/** The bundle that was kept last; undefined where there is none that can be read. */
export function lastBundle(folder: string): Uint8Array | undefined {
  const path = join(folder, NAME);
  try {
    return statSync(path).size > BUNDLE_BYTES_MAX ? undefined : readFileSync(path);
  } catch {
    return undefined;
  }
}
