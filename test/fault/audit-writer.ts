import { writeSync } from "node:fs";
import { machineDisk } from "../../adapters/machine-disk.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import { createWalSignal } from "../../node/audit/wal-signal.ts";
import { openWal } from "../../node/audit/wal-writer.ts";
import { createTable } from "../../node/table/table.ts";
import { ALLOW } from "../unit/audit/sample-records.ts";

/** Appends until it is killed, and says of each record that it was acknowledged. */
const [dir = "", run = ""] = process.argv.slice(2);
const wal = openWal({
  dir,
  run,
  writer: { no: 0, name: "loop0" },
  table: createTable({ rows: 16, loops: 1, scopes: 4, writers: 1, proofs: 64 }),
  signal: createWalSignal(1),
  clock: systemClock,
  syncMaxMs: 1_000,
  disk: machineDisk,
  // Small, so that a kill now and then falls on the change of files.
  fileBytesMax: 16 * 1024,
});
for (let no = 0; ; no++) {
  const rid = `01998f3e-7c1a-7b2c-9d3e-${no.toString(16).padStart(12, "0")}`;
  wal.append({ ...ALLOW, rid, t: systemClock.nowMs() });
  writeSync(1, `${rid}\n`);
}
