import { getCompileCacheDir } from "node:module";
import { dirname } from "node:path";

/**
 * The environment by which a thread that is given no other finds what this one has compiled.
 *
 * @see https://nodejs.org/api/module.html#module-compile-cache
 */
export function compileCacheEnv(): Readonly<Record<string, string>> {
  const dir = getCompileCacheDir();
  // It names a folder within that one, by the version of Node and the user.
  return dir === undefined ? {} : { NODE_COMPILE_CACHE: dirname(dir) };
}
