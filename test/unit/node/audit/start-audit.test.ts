import { EventEmitter } from "node:events";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import type { AuditWorkerData } from "../../../../node/audit/audit-worker.ts";
import { openWalSignal, positionOf } from "../../../../node/audit/wal-signal.ts";
import { startAudit } from "../../../../node/audit-log.ts";
import { createTable } from "../../../../node/table/table.ts";
import type { PreparedThread } from "../../../../ports/prepared-thread.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";
import { twinRandom } from "../../../../ports/twin-random.ts";
import { TwinDisk } from "./twin-disk.ts";

const LOOPS = 1;

/** A log whose thread is the test. */
function started() {
  const posted: unknown[] = [];
  const worker = Object.assign(new EventEmitter(), {
    postMessage: (message: unknown) => void posted.push(message),
  });
  const begun: AuditWorkerData[] = [];
  const thread = { worker, begin: (data: AuditWorkerData) => void begun.push(data) };
  const disk = new TwinDisk();
  disk.makeFolder("/home");
  const audit = startAudit(
    {
      ...{ home: "/home", mesh: "acme", node: "n1", version: "1", loops: LOOPS },
      ...{ syncMaxMs: 1_000, reserveBytes: 0, shipEveryMs: 5_000, keepBytes: 0, keepMs: undefined },
      epochLimits: { records: 1_000, ageMs: 1_000_000 },
      clock: twinClock(),
      random: twinRandom(1),
      disk,
      moneyMarks: () => new Map(),
      onFault: (message) => expect.fail(message),
      onLost: (what) => expect.fail(what),
    },
    createTable({ rows: 1, loops: LOOPS, scopes: 1, writers: LOOPS + 2, proofs: 64 }),
    thread as unknown as PreparedThread,
  );
  /** Bytes of the control thread's WAL. */
  const written = () => positionOf(openWalSignal(audit.signalBuffer), LOOPS).bytes;
  return { audit, worker, posted, begun, written };
}

test("a run begins with its boot record, whenever the audit thread is ready", async () => {
  const { audit, worker, begun, written } = started();
  let isReady = false;
  const ready = audit.ready.then(() => {
    isReady = true;
  });
  // The others may write from here on, the thread has been handed its part, and the record lies before theirs.
  expect(begun).toMatchObject([{ run: audit.run, dir: audit.walDir }]);
  expect(written()).toBeGreaterThan(0);
  await Promise.resolve();
  expect(isReady).toBe(false);
  worker.emit("message", { t: "ready", vkey: "v" });
  await ready;
});

test("a run ends with a record, and once the audit thread has said that all is on the disk", async () => {
  const { audit, worker, posted, written } = started();
  const before = written();
  const stopped = audit.stop().then(() => "stopped");
  expect(posted).toEqual([{ t: "stop" }]);
  expect(written()).toBeGreaterThan(before);
  worker.emit("message", { t: "signed", checkpoint: "" });
  expect(await Promise.race([stopped, nextTurn("not yet")])).toBe("not yet");
  worker.emit("message", { t: "stopped" });
  expect(await stopped).toBe("stopped");
});
