import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileKeys } from "../adapters/file-keys.ts";
import { machineDisk } from "../adapters/machine-disk.ts";
import { systemClock } from "../adapters/system-clock.ts";
import { AuditFault } from "../audit/audit-fault.ts";
import { encodeLeaf } from "../audit/leaf.ts";
import { LogFiles } from "../audit/log-files.ts";
import { TileEdge } from "../audit/tile-edge.ts";
import { AuditLog } from "../node/audit/audit-log.ts";
import { findRequest } from "../node/audit/find-records.ts";
import { logFolder, logSigner } from "../node/audit/log-origin.ts";
import { DENY } from "../test/unit/audit/sample-records.ts";
import type { Bench } from "./harness/bench.ts";
import { Times } from "./harness/histogram.ts";
import { tellProgress } from "./harness/progress.ts";

const RECORDS = { full: 1_000_000, short: 200_000 };
const NAME = { mesh: "bench", node: "node-7", epoch: 1 };
const LOOK_UPS = 1_000;
/** Each of these reads all entries from the id's time on, as far as one question may. */
const ABSENT_LOOK_UPS = 20;
/** Records between two checkpoints. */
const BATCH = 100_000;
/** Time between two records: 10,000 a second. The times of so many records are days apart in no log. */
const APART_MS = 0.1;
const NOTHING = (): void => undefined;

export const auditIndex: Bench = {
  name: "audit-index",
  question: "How long does it take to find a request by its id in a large log?",
  run: async ({ isFull, records }) => {
    const count = records ?? (isFull ? RECORDS.full : RECORDS.short);
    const folder = mkdtempSync(join(tmpdir(), "altrace-bench-"));
    try {
      mkdirSync(join(folder, "wal"));
      const startMicros = process.cpuUsage();
      write(folder, count);
      const { user, system } = process.cpuUsage(startMicros);
      const spread = (times: number) => (i: number) => Math.floor((i * count) / times);
      const [known, unknown] = [spread(LOOK_UPS), spread(ABSENT_LOOK_UPS)];
      const found = await lookUp(
        folder,
        Array.from({ length: LOOK_UPS }, (_, i) => ridOf(known(i))),
        1,
      );
      const ids = Array.from({ length: ABSENT_LOOK_UPS }, (_, i) => ridOf(unknown(i), "8"));
      const absent = await lookUp(folder, ids, 0);
      return result({ count, writeUs: (user + system) / count, found, absent });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

function result(of: {
  readonly count: number;
  readonly writeUs: number;
  readonly found: LookUps;
  readonly absent: LookUps;
}) {
  const ms = (name: string, value: number) => ({ name, value, unit: "ms" });
  return {
    load: `${of.count} refusals of one log, 10,000 a second by their times; ${LOOK_UPS} ids spread over it`,
    figures: [
      { name: "records", value: of.count, unit: "" },
      ms("find_p50_ms", of.found.times.percentileMs(50)),
      ms("find_p99_ms", of.found.times.percentileMs(99)),
      ms("absent_p50_ms", of.absent.times.percentileMs(50)),
      { name: "absent_given_up", value: of.absent.givenUp, unit: `of ${ABSENT_LOOK_UPS}` },
      { name: "write_us_per_record", value: of.writeUs, unit: "us" },
    ],
    notes: [
      "find: as `altrace explain` finds it, from the log alone, with its files in the system's memory; a record that " +
        "is named counts only once it was read and names the id itself. absent: an id of that time which no record has: the " +
        "index is not believed, and the entries from that time on are read; given up: they are more than one question may read, " +
        "and that is said. write: sealing, hashing, tiles, index and " +
        "checkpoints, without a WAL. `--records 10000000` takes some minutes and 4 GB of disk.",
    ],
  };
}

/** Makes the log as the audit thread does, from leaves that came by no WAL. */
function write(home: string, count: number): void {
  const signer = logSigner(fileKeys(join(home, "keys")), NAME);
  // It is read by this process alone, and thrown away: nothing has to survive.
  const disk = { ...machineDisk, syncData: NOTHING, syncFolder: NOTHING };
  const files = new LogFiles(disk, { home, dir: logFolder(home, NAME) });
  const state = { edge: new TileEdge(), entries: [], tail: [].values(), latestMs: 0 };
  const log = new AuditLog({ files, signer, epoch: 1, state });
  for (let no = 0; no < count; ) {
    for (const end = Math.min(no + BATCH, count); no < end; no++) {
      log.append(encodeLeaf({ ...DENY, rid: ridOf(no), t: timeOf(no) }), timeOf(no));
    }
    log.checkpoint({ doneBefore: "", positions: [] }, NOTHING);
    log.sweep();
    tellProgress(`audit-index: ${no} of ${count} records`);
  }
}

type LookUps = { readonly times: Times; readonly givenUp: number };

async function lookUp(home: string, ids: readonly string[], records: number): Promise<LookUps> {
  const folders = { walDir: join(home, "wal"), logDir: logFolder(home, NAME) };
  const times = new Times();
  let givenUp = 0;
  for (const id of ids) {
    const fromNs = systemClock.monoNs();
    const found = await findRequest(folders, id).catch((fault) => {
      // "None" cannot be said of what is too much to read, and is not.
      if (records > 0 || !(fault instanceof AuditFault)) throw fault;
      givenUp += 1;
      return [];
    });
    times.add(systemClock.monoNs() - fromNs);
    if (found.length !== records) throw new Error(`${id}: ${found.length} records`);
  }
  return { times, givenUp };
}

function timeOf(no: number): number {
  return 1_790_000_000_000 + Math.floor(no * APART_MS);
}

/** Ends spread as random ones do; `variant` makes ids that no record has. */
function ridOf(no: number, variant = "9"): string {
  const time = timeOf(no).toString(16).padStart(12, "0");
  const end = ((no * 2_654_435_761) % 2 ** 48).toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7b2c-${variant}d3e-${end}`;
}
