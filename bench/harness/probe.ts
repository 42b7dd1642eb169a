// Loaded into every thread of a node that is measured (`node --import`): writes down, on the
// machine's monotonic clock, when the head of each request was complete, when its answer was begun, and
// when the bytes of each kill and revive were in the hands of the mesh thread. Nothing outside of the process can know
// either, and the product itself has no reason to tell them.
//
// One file a thread in $BENCH_PROBE_DIR: `h|w <client's request id> <ns>`, `kill|revive <scope> <ns>`.

import { subscribe } from "node:diagnostics_channel";
import { openSync, writeSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { threadId } from "node:worker_threads";
import { Enforcement } from "../../node/mesh/enforcement.ts";

const FLUSH_EVERY_MS = 100;

const folder = process.env.BENCH_PROBE_DIR;
if (folder === undefined) throw new Error("BENCH_PROBE_DIR is not set");
const file = openSync(join(folder, `thread-${threadId}.log`), "a");
let lines: string[] = [];

// The message is published in the turn in which the parser has completed the head.
subscribe("http.server.request.start", (message) => {
  const nowNs = process.hrtime.bigint();
  const { request, response } = message as {
    readonly request: IncomingMessage;
    readonly response: ServerResponse;
  };
  const id = request.headers["x-request-id"];
  if (typeof id !== "string") return;
  lines.push(`h ${id} ${nowNs}\n`);
  noteWritten(response, id);
});

/** A refusal is one write with its head before it; the first write of an answer is what counts. */
function noteWritten(response: ServerResponse, id: string): void {
  const { write } = response;
  response.write = function writeAndTell(this: ServerResponse, ...args: unknown[]): boolean {
    response.write = write;
    const isFlushed = (write as (...args: unknown[]) => boolean).apply(this, args);
    lines.push(`w ${id} ${process.hrtime.bigint()}\n`);
    return isFlushed;
  } as ServerResponse["write"];
}

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
