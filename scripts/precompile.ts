// Fills the cache of compiled files for whoever may not write it where it runs, such as an image's user:
// `NODE_COMPILE_CACHE=.cache/compiled node scripts/precompile.ts`, as that user. Nothing of the program is run.

import { chmodSync, readdirSync } from "node:fs";
import { flushCompileCache, getCompileCacheDir } from "node:module";
import { join } from "node:path";
import { isMainThread, Worker } from "node:worker_threads";
import { builtProgram } from "../cli/built-program.js";
import { boundNewObjects } from "../cli/new-objects.js";

const main = builtProgram(new URL("..", import.meta.url));
if (main === undefined) throw new Error("no program is built of these sources");
const STOP = "all is compiled, and nothing is to run";

/** All modules of a program are compiled before the first of them is run, and this one is the first. */
const stop = `data:text/javascript,throw new Error(${JSON.stringify(STOP)})`;
const files = readdirSync(new URL(".", main)).map((file) => new URL(file, main).href);
const program = [stop, ...files].map((url) => `import ${JSON.stringify(url)};`).join("\n");

try {
  await import(`data:text/javascript,${encodeURIComponent(program)}`);
} catch (error) {
  if (!(error instanceof Error) || error.message !== STOP) throw error;
}
flushCompileCache();
const folder = getCompileCacheDir();
if (folder === undefined || !letEverybodyRead(folder)) {
  process.stderr.write("nothing is kept: NODE_COMPILE_CACHE names no folder that can be written\n");
  process.exitCode = 1;
} else {
  process.stdout.write(`${files.length} files are compiled in ${folder}\n`);
}
if (isMainThread) {
  // Once more for nodes, whose flags are others: the engine takes nothing that was compiled under these.
  boundNewObjects();
  new Worker(new URL(import.meta.url)).once("exit", (code) => {
    process.exitCode ||= code;
  });
}

/** Node writes what its own user alone may read, and the folder is given to another one. False: it is another one's already. */
function letEverybodyRead(folder: string): boolean {
  try {
    chmodSync(folder, 0o755);
    for (const file of readdirSync(folder)) chmodSync(join(folder, file), 0o644);
    return true;
  } catch {
    return false;
  }
}
