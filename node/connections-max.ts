import { connectionsMaxOf } from "./dataplane/admission-cap.ts";

/**
 * Connections that each of so many loops takes at once, by the files that this process may have open, if that is known.
 *
 * @throws Error They are too few.
 */
export function connectionsMax(loops: number, files = 1_024): number {
  const cap = connectionsMaxOf({ openFilesMax: files, loops });
  if (cap === undefined) throw new Error(`open files: ${files} are too few, raise \`ulimit -n\``);
  return cap;
}
