import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "../../adapters/system-clock.ts";
import { openCheckpoint } from "../../audit/checkpoint.ts";
import type { VerifierKey } from "../../audit/signed-note.ts";
import type { Anchor } from "../../audit/verify-log.ts";
import { findRequest } from "../../node/audit/find-records.ts";
import { logFolder, walFolder } from "../../node/audit/log-origin.ts";
import { syncedAtNs } from "../../node/table/table.ts";
import { proofCount } from "../support/proof.ts";
import { tempDir } from "../support/temp-dir.ts";
import { waitUntil } from "../support/wait-until.ts";
import { deny, LOG, startThread, verifyHome } from "./audit-thread-life.ts";

/**
 * A real file system that loses its power: ext4 in a file, shut down under the writer without a flush of
 * its journal. What was not synced by then is gone, as it would be. `audit-crash.test.ts` does the same
 * at every step of the disk, on a twin.
 */
const PROOF = proofCount("power losses", { small: 2, full: 40 });
/** EXT4_IOC_SHUTDOWN, and its flag that leaves the journal unflushed. */
const SHUTDOWN =
  'open(F, "<", $ARGV[0]) or die; my $how = pack("L", 2); ioctl(F, 0x8004587d, $how) or die "$!"';

/** An ext4 of its own; undefined where that needs rights or tools that are not here. */
class LostDisk implements Disposable {
  readonly home: string;
  #image: string;

  constructor(folder: string) {
    this.#image = join(folder, "image");
    this.home = join(folder, "mount");
    mkdirSync(this.home);
    execFileSync("truncate", ["-s", "64M", this.#image]);
    execFileSync("mkfs.ext4", ["-q", "-F", this.#image], { stdio: "ignore" });
    this.#mount();
  }

  losePower(): void {
    execFileSync("perl", ["-e", SHUTDOWN, this.home]);
  }

  /**
   * Mounts what the disk held when it lost its power: a copy of it. The device itself may live on in the
   * mount namespace of a process that was started meanwhile, and would be found dead there.
   */
  powerUp(): void {
    const held = `${this.#image}-held`;
    execFileSync("cp", ["--sparse=always", this.#image, held]);
    execFileSync("umount", [this.home]);
    this.#image = held;
    this.#mount();
  }

  #mount(): void {
    execFileSync("mount", ["-o", "loop", this.#image, this.home], { stdio: "ignore" });
  }

  [Symbol.dispose](): void {
    // Whatever a failed test still has open there.
    execFileSync("umount", ["-l", this.home], { stdio: "ignore" });
  }
}

function lostDisk(folder: string): LostDisk | undefined {
  try {
    return new LostDisk(folder);
  } catch {
    return undefined;
  }
}

/** The checkpoint that somebody outside may hold by now. */
function published(home: string, key: VerifierKey): readonly Anchor[] {
  const path = join(logFolder(home, { ...LOG, epoch: 1 }), "checkpoint");
  const opened = openCheckpoint(readFileSync(path), key, []);
  if (!opened.ok) throw new Error(opened.detail);
  return [{ size: opened.value.size, root: opened.value.root }];
}

test("a loss of power takes no record that counted as synced, and no checkpoint that was signed", {
  timeout: 600_000,
}, async (context) => {
  for (let i = 0; i < PROOF.count; i++) {
    using folder = tempDir();
    using disk = lostDisk(folder.path);
    if (disk === undefined) return context.skip("an ext4 of its own needs root, mount and perl");
    const first = await startThread(disk.home);
    const acked: string[] = [];
    const wanted = 150 + 90 * i;
    while (acked.length < wanted) {
      const batch = Array.from({ length: 30 }, () => deny(first));
      const writtenNs = systemClock.monoNs();
      await waitUntil("the sync", () => syncedAtNs(first.table, 0) >= writtenNs);
      acked.push(...batch);
    }
    const anchors = await waitUntil("a checkpoint", () => {
      try {
        return published(disk.home, first.vkey);
      } catch {
        return undefined;
      }
    });
    // On their way, and promised to nobody.
    for (let more = 0; more < 40; more++) deny(first);
    // A thread that cannot read its own files ends, and its node with it; here it has no power either.
    first.worker.on("error", ({ code }: NodeJS.ErrnoException) => expect(code).toBe("EIO"));
    disk.losePower();
    await first.worker.terminate();
    for (const wal of [first.loop, first.control]) wal.close();

    disk.powerUp();
    const second = await startThread(disk.home);
    await second.stop();
    const report = verifyHome(disk.home, second.vkey, anchors);
    expect(report.findings).toEqual([]);
    expect(report.decisions).toBeGreaterThanOrEqual(acked.length);
    const folders = {
      walDir: walFolder(disk.home),
      logDir: logFolder(disk.home, { ...LOG, epoch: 1 }),
    };
    for (const rid of [acked[0], acked.at(-1)]) {
      expect(await findRequest(folders, rid as string)).toMatchObject([{ rid }]);
    }
  }
});
