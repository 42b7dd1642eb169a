import { parentPort, workerData } from "node:worker_threads";
import { awaitKillReading } from "../../../../node/table/kill-reading.ts";
import { isKilled } from "../../../../node/table/scope-cells.ts";
import { openTable } from "../../../../node/table/table.ts";

/** Looks once, as a data loop does, and tells what it was told and what the cell then said. */
const { buffer, cell } = workerData as { buffer: SharedArrayBuffer; cell: number };
const table = openTable(buffer);
parentPort?.postMessage("looking");
const isRead = awaitKillReading(table, process.hrtime.bigint);
parentPort?.postMessage({ isRead, killed: isKilled(table, cell) });
