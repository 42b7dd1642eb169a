import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createWalSignal } from "../../node/audit/wal-signal.ts";
import type { MeshWorkerData } from "../../node/mesh/mesh-worker.ts";

let starts = 0;

/** A folder and a signal for the WAL of a mesh thread that runs without the rest of its node. */
export function meshWal(home: string): MeshWorkerData["wal"] {
  const dir = join(home, "wal");
  mkdirSync(dir, { recursive: true });
  const { buffer: signalBuffer } = createWalSignal(3);
  // Every start is a run of its own, as in a node: a file that is there is never written over.
  starts += 1;
  const run = `${String(starts).padStart(8, "0")}.00000000`;
  return { dir, run, writer: 2, signalBuffer, syncMaxMs: 1_000 };
}
