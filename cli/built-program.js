import { readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Where programs lie that were built of the sources, from the root of the repository. */
export const BUILT = ".cache/program";

/** What says which of them is the one to run, and of what it was built. */
export const MANIFEST = "manifest.json";

/** The module of a program that starts it. */
export const MAIN = "main.mjs";

/**
 * The program that was built of exactly the sources that lie there now, packages among them; undefined: there is none,
 * and the sources are to be run as they are.
 *
 * A source is the same while its size and the second of its last change are. One that was changed in the second in which it was read, or
 * whose time is another, is compared by its hash.
 *
 * @param root URL of the repository, which ends with a slash.
 * @returns URL of the module that starts it.
 */
export function builtProgram(root) {
  try {
    const place = new URL(`${BUILT}/`, root);
    const { folder, files, sources } = JSON.parse(readFileSync(new URL(MANIFEST, place), "utf8"));
    const path = fileURLToPath(root);
    const program = new URL(`${folder}/`, place);
    if (!areWhole(program, files)) return undefined;
    if (!sources.every((source) => isAsItWas(path, source))) return undefined;
    return new URL(MAIN, program).href;
  } catch {
    return undefined;
  }
}

/**
 * Whether a program's files are all there. A loss of power may have left one without what was in it, which would do nothing, and
 * say nothing of it.
 *
 * @param program URL of their folder, which ends with a slash.
 * @param files Name and bytes of each.
 */
export function areWhole(program, files) {
  const sizeOf = (name) => statSync(new URL(name, program), { throwIfNoEntry: false })?.size;
  return files.every(([name, size]) => sizeOf(name) === size);
}

function isAsItWas(root, [path, size, changedS, sha256]) {
  const now = statSync(root + path, { throwIfNoEntry: false });
  if (now?.size !== size) return false;
  return Math.floor(now.mtimeMs / 1000) === changedS || sha256Of(root + path) === sha256;
}

function sha256Of(file) {
  // Loaded when it is needed, which is seldom.
  const { hash } = process.getBuiltinModule("node:crypto");
  return hash("sha256", readFileSync(file), "base64url");
}
