import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { LogFiles } from "../../../audit/log-files.ts";
import { leafHash } from "../../../audit/merkle.ts";
import { encodeRetired, RETIRED_PATH } from "../../../audit/retired-log.ts";
import { TileEdge } from "../../../audit/tile-edge.ts";
import { decodeEntries, tilePath } from "../../../audit/tiles.ts";
import { verifyHead } from "../../../audit/verify-head.ts";
import { verifyLog } from "../../../audit/verify-log.ts";
import { LOOK_EVERY_MS, Retirement } from "../../../coordinator/archive/retirement.ts";
import { proofCount } from "../../support/proof.ts";
import { STRANGER } from "../audit/sample-log.ts";
import { TwinDisk } from "../node/audit/twin-disk.ts";
import {
  Coordinator,
  cosignedMs,
  DIR,
  endedLogOf,
  LOG,
  logOf,
  type MadeLog,
  ORIGIN,
  ShippingNode,
  WITNESS,
} from "./archive-world.ts";

const KEEP_MS = 86_400_000;
const COLD_DIR = "/home/cold/logs";
const SIZE = 600;
const ENDED = endedLogOf(SIZE);
const OLD_MS = cosignedMs(SIZE) + KEEP_MS;

/** The archive's disk once a node has shipped that log. */
async function shipped(log: MadeLog): Promise<TwinDisk> {
  const disk = new TwinDisk();
  disk.makeFolder("/home/cold");
  await new ShippingNode(new Coordinator(disk)).cosigned(log);
  return disk;
}

const SHIPPED = await shipped(ENDED);

function archiveOn(disk: TwinDisk = SHIPPED): Coordinator {
  return new Coordinator(disk.afterCrash());
}

class Run {
  readonly retired: string[] = [];
  readonly faults: string[] = [];
  readonly retirement: Retirement;

  constructor(
    coordinator: Coordinator,
    more: { coldDir?: string; witness?: typeof WITNESS.key } = {},
  ) {
    this.retirement = new Retirement({
      disk: coordinator.disk,
      dir: DIR,
      witness: WITNESS.key,
      keepMs: KEEP_MS,
      close: (origin) => coordinator.archive.shut(origin),
      onRetired: (origin) => this.retired.push(origin),
      onFault: (_origin, why) => this.faults.push(why),
      ...more,
    });
  }

  to(nowMs: number): this {
    while (this.retirement.turn(nowMs));
    return this;
  }
}

function filesBelow(disk: TwinDisk, dir: string): Map<string, Buffer> {
  const paths = disk.paths().filter((path) => path.startsWith(`${dir}/`));
  return new Map(paths.map((path) => [path.slice(dir.length + 1), disk.contentOf(path) as Buffer]));
}

function verified(files: ReadonlyMap<string, Buffer>) {
  const report = verifyLog({ reader: { read: (path) => files.get(path) }, logKey: LOG.key });
  // The sample records are of another mesh, which the first of them says.
  const codes = report.findings.map(({ code }) => code).filter((code) => code !== "genesis_origin");
  return { ...report, codes };
}

const coldFiles = (disk: TwinDisk) => filesBelow(disk, join(COLD_DIR, ORIGIN));

describe("an old log in the archive", () => {
  test("Q2, Q3: is copied whole, then its records go and its head still verifies", () => {
    const coordinator = archiveOn();
    const { retired, faults } = new Run(coordinator, { coldDir: COLD_DIR }).to(OLD_MS);
    expect([retired, faults]).toEqual([[ORIGIN], []]);
    const head = coordinator.files();
    expect([...head.keys()].sort()).toEqual([
      "archived",
      "checkpoint",
      "close.tlog-proof",
      "minimum",
      "retired",
      "tile/0/002.p/88",
      "tile/1/000.p/2",
    ]);
    expect(verified(head)).toMatchObject({ isRetired: true, codes: [], pruned: SIZE, leaves: 0 });
    const cold = coldFiles(coordinator.disk);
    for (const [path, bytes] of ENDED.files) expect(cold.get(path)).toEqual(bytes);
    expect(cold.has("witnessed")).toBe(false);
    expect(verified(cold)).toMatchObject({ isRetired: false, codes: [], leaves: SIZE });
  });

  test("Q2: takes what witnesses outside have cosigned along, and leaves it with the head", () => {
    const coordinator = archiveOn();
    const at = join(DIR, ORIGIN);
    const files = new LogFiles(coordinator.disk, { home: DIR, dir: at });
    files.put("witnessed", Buffer.from(ENDED.note));
    files.settle(() => undefined);
    new Run(coordinator, { coldDir: COLD_DIR }).to(OLD_MS);
    for (const kept of [coldFiles(coordinator.disk), coordinator.files()]) {
      expect(String(kept.get("witnessed"))).toBe(ENDED.note);
      expect(verified(kept)).toMatchObject({ codes: [] });
    }
  });

  test("Q1: stays while it grows, is young, or this coordinator has not cosigned its end", async () => {
    const cases = [
      [logOf(SIZE), OLD_MS, {}],
      [ENDED, OLD_MS - 1, {}],
      [ENDED, OLD_MS, { witness: STRANGER.key }],
    ] as const;
    for (const [log, nowMs, more] of cases) {
      const coordinator = archiveOn(log === ENDED ? SHIPPED : await shipped(log));
      const before = coordinator.files();
      expect(new Run(coordinator, more).to(nowMs)).toMatchObject({ retired: [], faults: [] });
      expect(coordinator.files()).toEqual(before);
    }
  });

  test("Q2: stays when an entry is not what was signed, and is told again at each look", () => {
    const coordinator = archiveOn();
    const path = join(DIR, ORIGIN, "tile/entries/000");
    coordinator.disk.spoil(path, (bytes) => Buffer.from(bytes).fill(0x20, 40, 41));
    const run = new Run(coordinator, { coldDir: COLD_DIR }).to(OLD_MS);
    expect(run.faults).toEqual(["leaf 0 does not lead to the signed root"]);
    run.to(OLD_MS + LOOK_EVERY_MS);
    expect(run.faults).toHaveLength(2);
    expect(run.retired).toEqual([]);
    const report = verified(coordinator.files());
    expect([report.isRetired, report.codes.includes("entry_altered")]).toEqual([false, true]);
  });

  test("Q2: stays when what an earlier run has copied is not there any more, or is something else", () => {
    const whole = archiveOn();
    new Run(whole, { coldDir: COLD_DIR }).to(OLD_MS);
    for (const path of ["tile/entries/001", "tile/0/000"]) {
      const coordinator = archiveOn();
      for (const [name, bytes] of coldFiles(whole.disk)) {
        const place = join(COLD_DIR, ORIGIN, name);
        coordinator.disk.makeFolder(dirname(place));
        const fd = coordinator.disk.create(place);
        coordinator.disk.write(fd, bytes, 0);
        coordinator.disk.close(fd);
      }
      const forged = join(COLD_DIR, ORIGIN, path);
      const before = coordinator.files();
      coordinator.disk.spoil(forged, (bytes) => Buffer.from(bytes).fill(0x20, 40, 41));
      const run = new Run(coordinator, { coldDir: COLD_DIR }).to(OLD_MS);
      expect(run).toMatchObject({
        retired: [],
        faults: [`${path} of the copy is not what is here`],
      });
      coordinator.disk.remove(forged);
      run.to(OLD_MS + LOOK_EVERY_MS);
      expect([run.retired, run.faults]).toMatchObject([[], { length: 2 }]);
      expect(coordinator.files()).toEqual(before);
    }
  });

  test("is whole in one place or the other wherever the coordinator is killed", () => {
    class Killed extends Error {}
    const every = Math.round(41 / proofCount("retirement", { small: 1, full: 41 }).count);
    const coordinator = archiveOn();
    const begun = SHIPPED;
    let steps = 0;
    for (let isOver = false; !isOver; steps += every) {
      let left = steps;
      const disk = begun.afterCrash({
        onStep: () => {
          if (left-- > 0) return;
          isOver = false;
          throw new Killed();
        },
      });
      isOver = true;
      coordinator.restart(begun.afterCrash());
      coordinator.disk = disk;
      new Run(coordinator, { coldDir: COLD_DIR }).to(OLD_MS);
      coordinator.restart(disk.afterCrash());
      const here = verified(coordinator.files());
      expect(here.codes).toEqual([]);
      if (here.isRetired) {
        expect(verified(coldFiles(coordinator.disk))).toMatchObject({ codes: [], leaves: SIZE });
      }
      const { retired, faults } = new Run(coordinator, { coldDir: COLD_DIR }).to(OLD_MS);
      expect(faults).toEqual([]);
      // What is left to be done of one that says so already, at the last steps, may be nothing.
      if (!here.isRetired) expect(retired).toEqual([ORIGIN]);
      expect(verified(coordinator.files())).toMatchObject({ isRetired: true, codes: [] });
    }
    expect(steps).toBeGreaterThan(50);
  });

  test("C4: is still said to be whole to its node, and takes nothing more", async () => {
    const coordinator = archiveOn();
    new Run(coordinator).to(OLD_MS);
    const node = new ShippingNode(coordinator);
    await node.cosigned(ENDED);
    expect([node.kept, node.refused]).toEqual([[SIZE], []]);
    const longer = endedLogOf(SIZE + 1);
    await new ShippingNode(coordinator).cosigned(longer);
    expect(coordinator.said.at(-1)).toMatchObject({ refused: "inconsistent" });
  });
});

describe("a folder that says its log was retired", () => {
  const head = () => {
    const coordinator = archiveOn();
    new Run(coordinator).to(OLD_MS);
    return coordinator.files();
  };

  test("is found out when the log had not ended", () => {
    const { files } = logOf(SIZE);
    const root = verified(files).checkpoint?.root as Uint8Array;
    const said = { size: SIZE, root: Buffer.from(root).toString("hex"), isDone: true };
    files.set(RETIRED_PATH, encodeRetired(said));
    for (const proof of [undefined, head().get("close.tlog-proof")]) {
      if (proof !== undefined) files.set("close.tlog-proof", proof);
      expect(verified(files).codes).toEqual(["retired_unended"]);
    }
  });

  test.each([
    ["root_differs", "tile/1/000.p/2"],
    ["root_differs", "tile/0/002.p/88"],
    ["log_signature_wrong", "checkpoint"],
    ["retired_unended", "close.tlog-proof"],
  ])("is found out when a byte was changed: %s", (code, path) => {
    const files = head();
    const bytes = Buffer.from(files.get(path) as Buffer);
    bytes[40] = (bytes[40] as number) ^ 1;
    files.set(path, bytes);
    expect(verified(files).codes).toContain(code);
  });

  test("does not pass for another size than its checkpoint's", () => {
    const files = head();
    files.set("checkpoint", Buffer.from(logOf(500).note));
    expect(verified(files).isRetired).toBe(false);
    expect(verified(files).codes).toContain("bundle_missing");
  });
});

test("whoever kept 256 records shows by the head alone that they were in the log", async () => {
  const coordinator = archiveOn();
  new Run(coordinator).to(OLD_MS);
  const entries = decodeEntries(ENDED.files.get("tile/entries/001") as Buffer, 256);
  if (!entries.ok) throw new Error(entries.detail);
  const edge = new TileEdge();
  for (const entry of entries.value) edge.append(leafHash(entry));
  const hashes = coordinator.files().get("tile/1/000.p/2") as Buffer;
  expect(hashes.subarray(32, 64)).toEqual(edge.root());
});

test("a full tile above level 0 is held against the level above it", () => {
  const edge = new TileEdge();
  const files = new Map<string, Buffer>();
  const hash = Buffer.alloc(32, 5);
  for (let leaf = 0; leaf < 65_536 + 300; leaf++) {
    for (const { tile, bytes } of edge.append(hash)) files.set(tilePath(tile), bytes);
  }
  for (const { tile, bytes } of edge.partials()) files.set(tilePath(tile), bytes);
  const reader = { read: (path: string) => files.get(path) };
  const head = { size: edge.size, root: edge.root() };
  expect(verifyHead(reader, head, 10)).toEqual([]);
  files.set("tile/1/000", Buffer.alloc(8_192, 1));
  expect(verifyHead(reader, head, 10)).toMatchObject([{ code: "upper_tile_altered" }]);
  files.delete("tile/1/000");
  expect(verifyHead(reader, head, 10)).toMatchObject([{ code: "tile_missing" }]);
});
