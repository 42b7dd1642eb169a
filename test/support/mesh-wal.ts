import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createWalSignal } from "../../node/audit/wal-signal.ts";
import type { MeshWorkerData } from "../../node/mesh/mesh-worker.ts";

/** A folder and a signal for the WAL of a mesh thread that runs without the rest of its node. */
export function meshWal(home: string): MeshWorkerData["wal"] {
  const dir = join(home, "wal");
  mkdirSync(dir, { recursive: true });
  const { buffer: signalBuffer } = createWalSignal(3);
  return { dir, run: "00000001.00000000", writer: 2, signalBuffer, syncMaxMs: 1_000 };
}
