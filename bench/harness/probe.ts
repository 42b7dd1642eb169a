// Loaded into every thread of a node that is measured (`node --import`): writes down, on the
// machine's monotonic clock, when the head of each request was complete, when its answer was begun, and
// when the bytes of each kill and revive were in the hands of the mesh thread. Nothing outside of the process can know
// either, and the product itself has no reason to tell them.
//
// One file a thread in $BENCH_PROBE_DIR: `h|w <client's request id> <ns>`, `kill|revive <scope> <ns>`.

import { openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { threadId } from "node:worker_threads";
import { Enforcement } from "../../node/mesh/enforcement.ts";
import { probeRequests } from "./probe-requests.ts";

const FLUSH_EVERY_MS = 100;

const folder = process.env.BENCH_PROBE_DIR;
if (folder === undefined) throw new Error("BENCH_PROBE_DIR is not set");
const file = openSync(join(folder, `thread-${threadId}.log`), "a");
let lines: string[] = [];

probeRequests((what, id, atNs) => void lines.push(`${what} ${id} ${atNs}\n`));

const { enforce } = Enforcement.prototype;
Enforcement.prototype.enforce = function enforceAndTell(record, receipt) {
  enforce.call(this, record, receipt);
  const { case: op } = record.op;
  if (op === "kill" || op === "revive") {
    lines.push(`${op} ${record.scope} ${receipt.receivedNs}\n`);
  }
};

function flush(): void {
  if (lines.length === 0) return;
  writeSync(file, lines.join(""));
  lines = [];
}

setInterval(flush, FLUSH_EVERY_MS).unref();
process.on("exit", flush);
