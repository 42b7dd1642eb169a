import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { machineDisk } from "../../adapters/machine-disk.ts";
import { readFrames } from "../../audit/frame.ts";
import { decodeRecord } from "../../audit/leaf.ts";
import { recoverWal } from "../../node/audit/recover-wal.ts";
import { listWalFiles, walPath } from "../../node/audit/wal-files.ts";
import { twinRandom } from "../../ports/twin-random.ts";
import { proofCount } from "../support/proof.ts";
import { tempDir } from "../support/temp-dir.ts";

const WRITER = fileURLToPath(new URL("./audit-writer.ts", import.meta.url));
const RUN = "00000012.0a1b2c3d";
const PROOF = proofCount("audit writer killed", { small: 4, full: 200 });

/** Runs a writer, kills it after `acks` acknowledgements, and returns those it gave. */
async function killedWriter(dir: string, acks: number): Promise<readonly string[]> {
  const writer = spawn(process.execPath, [WRITER, dir, RUN], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(writer, "close");
  let text = "";
  writer.stdout.setEncoding("latin1");
  writer.stdout.on("data", (part: string) => {
    text += part;
    if (text.length / 37 >= acks) writer.kill("SIGKILL");
  });
  const [, signal] = await ended;
  expect(signal).toBe("SIGKILL");
  return text.split("\n").slice(0, -1);
}

function ridsIn(dir: string): readonly string[] {
  return listWalFiles(machineDisk, dir).flatMap((file) => {
    const frames = readFrames(readFileSync(walPath(dir, file)));
    expect(frames.torn).toBe(false);
    return frames.leaves.map((leaf) => {
      const decoded = decodeRecord(leaf);
      return decoded.ok && decoded.record.k === "decision" ? decoded.record.rid : "?";
    });
  });
}

test("every record that a killed writer acknowledged is in its files, whole and in order", {
  timeout: 600_000,
}, async () => {
  const random = twinRandom(PROOF.seed);
  for (let i = 0; i < PROOF.count; i++) {
    using home = tempDir();
    const dir = join(home.path, "wal");
    mkdirSync(dir);
    const acks = 1 + (Buffer.from(random.bytes(2)).readUInt16BE(0) % 400);
    const acked = await killedWriter(dir, acks);
    expect(acked.length).toBeGreaterThanOrEqual(acks);
    recoverWal({ dir, random, disk: machineDisk });
    const found = ridsIn(dir);
    expect(found.slice(0, acked.length)).toEqual(acked);
    // It was killed before it could say so of one more, at most.
    expect(found.length - acked.length).toBeLessThanOrEqual(1);
  }
});
