import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import {
  awaitKillReading,
  beginKillReading,
  endKillReading,
  KILL_READING_MAX_NS,
} from "../../../../node/table/kill-reading.ts";
import { setKilled } from "../../../../node/table/scope-cells.ts";
import { createTable } from "../../../../node/table/table.ts";

const CELL = 2;
const newTable = () => createTable({ rows: 1, loops: 1, scopes: 4, writers: 1, proofs: 64 });

test("a look while a kill is read sees what that kill has stored", async () => {
  const table = newTable();
  // Far ahead, so that however slow this machine is the patience does not end first.
  beginKillReading(table, process.hrtime.bigint() + 60_000_000_000n);
  const worker = new Worker(new URL("./kill-reader.ts", import.meta.url), {
    workerData: { buffer: table.buffer, cell: CELL },
  });
  await once(worker, "message");
  const told = once(worker, "message");
  setKilled(table, CELL, true);
  endKillReading(table);
  expect((await told)[0]).toEqual({ isRead: true, killed: true });
});

test("nothing is waited for when no kill is being read", () => {
  const table = newTable();
  expect(awaitKillReading(table, () => 1n)).toBe(true);
  beginKillReading(table, 1n);
  endKillReading(table);
  expect(awaitKillReading(table, () => 1n)).toBe(true);
});

test("a kill that is read for too long ends the wait, and later looks do not wait at all", () => {
  const table = newTable();
  beginKillReading(table, 1n);
  let asked = 0;
  const late = (): bigint => {
    asked += 1;
    return 1n + KILL_READING_MAX_NS;
  };
  expect(awaitKillReading(table, late)).toBe(false);
  expect(asked).toBe(1);
});
