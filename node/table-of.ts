import type { NodeConfig } from "./config.ts";
import { createTable, type Table } from "./table/table.ts";

/** Scope cells beside two for each row: teams, contracts and scopes whose rows are leaving. */
const SPARE_SCOPES = 1_024;

/** The memory that all threads of such a node share. Control and mesh write to the log beside the loops. */
export function tableOf({ tableRows: rows, loops }: NodeConfig): Table {
  return createTable({ rows, loops, scopes: 2 * rows + SPARE_SCOPES, writers: loops + 2 });
}
