import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { cryptoRandom } from "../../adapters/crypto-random.ts";
import { machineDisk } from "../../adapters/machine-disk.ts";
import { systemClock } from "../../adapters/system-clock.ts";
import type { VerifierKey } from "../../audit/signed-note.ts";
import { CHECKPOINT_PATH } from "../../audit/tiles.ts";
import { WITNESSED_PATH } from "../../audit/witnessed.ts";
import type { ControlToAudit } from "../../node/audit/audit-worker.ts";
import { findRequest, recentDecisions } from "../../node/audit/find-records.ts";
import { logFolder, walFolder } from "../../node/audit/log-origin.ts";
import { recoverWal } from "../../node/audit/recover-wal.ts";
import { createWalSignal } from "../../node/audit/wal-signal.ts";
import { openWal } from "../../node/audit/wal-writer.ts";
import { createTable, syncedAtNs } from "../../node/table/table.ts";
import { tempDir } from "../support/temp-dir.ts";
import { waitUntil } from "../support/wait-until.ts";
import { ALLOW } from "../unit/audit/sample-records.ts";
import { deny, LOG, startThread, type Thread, verifyHome } from "./audit-thread-life.ts";

describe("the audit thread", () => {
  test("syncs what other threads append, one record after the other, and confirms it", async () => {
    using home = tempDir();
    const thread = await startThread(home.path);
    for (let i = 0; i < 20; i++) {
      deny(thread);
      const writtenNs = systemClock.monoNs();
      await waitUntil("the sync", () => syncedAtNs(thread.table, 0) >= writtenNs);
    }
    expect(thread.loop.canAllow(systemClock.monoNs())).toBe(true);
    await thread.stop();
    expect(thread.faults).toEqual([]);
  });

  test("leaves a log that verifies, over two runs, in which every record is found", async () => {
    using home = tempDir();
    const logDir = logFolder(home.path, { ...LOG, epoch: 1 });
    const rids: string[] = [];
    let vkey: VerifierKey | undefined;
    for (let run = 0; run < 2; run++) {
      const thread = await startThread(home.path);
      for (let i = 0; i < 400; i++) rids.push(deny(thread));
      if (run === 0) await witnessOutside(thread, logDir);
      await thread.stop();
      expect(thread.faults).toEqual([]);
      vkey = thread.vkey;
    }
    const report = verifyHome(home.path, vkey as VerifierKey);
    expect(report.findings).toEqual([]);
    expect(report.checkpoint?.size).toBe(1 + 2 + rids.length);
    expect(report.decisions).toBe(rids.length);
    const folders = { walDir: walFolder(home.path), logDir };
    for (const rid of [rids[0], rids[399], rids[400], rids[799]]) {
      expect(await findRequest(folders, rid as string)).toMatchObject([{ rid }]);
    }
    const recent = await recentDecisions(folders, ALLOW.ag as string, 500);
    expect(recent.map(({ rid }) => rid).sort()).toEqual(rids.slice(-500).sort());
  });

  test("ends with an error when the log cannot be continued", async () => {
    using home = tempDir();
    const first = await startThread(home.path);
    await first.stop();
    const keys = join(home.path, "keys");
    execFileSync("rm", ["-r", keys]);
    await expect(startThread(home.path)).rejects.toThrow(/log_signature_missing/);
  });
});

/** Brings it what witnesses outside of the mesh would, and sees it lie beside the log. */
async function witnessOutside({ worker }: Thread, logDir: string): Promise<void> {
  const [checkpoint, witnessed] = [CHECKPOINT_PATH, WITNESSED_PATH].map((at) => join(logDir, at));
  await waitUntil("a checkpoint", () => existsSync(checkpoint as string));
  const note = readFileSync(checkpoint as string, "utf8");
  worker.postMessage({ t: "witnessed", epoch: 1, note } satisfies ControlToAudit);
  await waitUntil("what was cosigned", () => existsSync(witnessed as string));
  expect(readFileSync(witnessed as string, "utf8")).toBe(note);
}

test("a full disk refuses, keeps whole frames and is used again with room", async (context) => {
  using home = tempDir();
  const dir = join(home.path, "wal");
  mkdirSync(dir);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", dir], { stdio: "ignore" });
  } catch {
    context.skip("a small file system can be mounted by root alone");
  }
  try {
    const table = createTable({ rows: 16, loops: 1, scopes: 4, writers: 1, proofs: 64 });
    const wal = openWal({
      dir,
      run: recoverWal({ dir, random: cryptoRandom, disk: machineDisk }).run,
      writer: { no: 0, name: "loop0" },
      table,
      signal: createWalSignal(1),
      clock: systemClock,
      syncMaxMs: 60_000,
      disk: machineDisk,
    });
    const rest = join(dir, "other");
    execFileSync("dd", ["if=/dev/zero", `of=${rest}`, "bs=1k", "count=30"], { stdio: "ignore" });
    let appended = 0;
    const appendAll = (): void => {
      for (;;) {
        wal.append({ ...ALLOW, t: appended });
        appended++;
      }
    };
    expect(appendAll).toThrow(/could not be written/);
    expect(appended).toBeGreaterThan(10);
    expect(wal.canAllow(systemClock.monoNs())).toBe(false);
    execFileSync("rm", [rest]);
    wal.append({ ...ALLOW, t: appended });
    expect(wal.canAllow(systemClock.monoNs())).toBe(true);
    wal.close();
    expect(recoverWal({ dir, random: cryptoRandom, disk: machineDisk })).toMatchObject({
      tornBytes: 0,
      damagedBytes: 0,
    });
  } finally {
    execFileSync("umount", [dir]);
  }
});
