import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const BYTES_PER_MIB = 1024 * 1024;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** What is reachable on this thread's heap, without what only waits to be collected. */
export function heapInUseMib(): number {
  // What the first one lets finish, the second one finds.
  collect();
  collect();
  return process.memoryUsage().heapUsed / BYTES_PER_MIB;
}

/** Of the whole process, pages of mapped files that it has read included. */
export function residentMib(): number {
  return process.memoryUsage.rss() / BYTES_PER_MIB;
}
