import { describe, expect, test } from "vitest";
import { openCheckpoint } from "../../audit/checkpoint.ts";
import type { Anchor } from "../../audit/verify-log.ts";
import { proofCount } from "../support/proof.ts";
import {
  type Acked,
  copyOfWorld,
  Life,
  type LifeOptions,
  LOG_DIR,
  logKey,
  newWorld,
  recordsIn,
  verify,
  type World,
} from "../unit/node/audit/audit-life.ts";
import { TwinDisk } from "../unit/node/audit/twin-disk.ts";

/** How many steps of a life are ends of it; `full` is more than there are, and so all. */
const PROOF = proofCount("audit crash at a step", { small: 24, full: 1_000 });
/** Losses of power that are drawn for each of them. */
const POWER_LOSSES = PROOF.count === 24 ? 2 : 4;
/** A full proof takes minutes where many share the machine. */
const TIMEOUT_MS = 600_000;
/** So small that writers begin a new file every few records. */
const SMALL_FILES: LifeOptions = { fileBytesMax: 3_000 };

/** A log of 250 leaves, six short of a full tile, whose node is down. */
const BEFORE = (() => {
  const world = newWorld();
  const life = new Life(world, new TwinDisk());
  for (let i = 0; i < 247; i++) life.deny((i % 2) as 0 | 1);
  life.checkpoint();
  life.stop();
  return { world, disk: life.disk, size: life.log.signedSize };
})();

/**
 * Every step of the disk after this one fails: what the process does from then on never happened.
 */
class Death extends Error {}

type Ending = {
  readonly world: World;
  readonly disk: TwinDisk;
  /** Steps that the disk took. */
  readonly steps: number;
  /** Checkpoints that somebody outside may have seen. */
  readonly published: readonly Anchor[];
  /** Records that may not be missing after a loss of power: they were counted as synced. */
  readonly synced: readonly Acked[];
};

/** Lives a life up to its `lastStep`, and tells what the world then knows of it. */
function live(from: { world: World; disk: TwinDisk }, lastStep: number, kernel: string): Ending {
  const world = copyOfWorld(from.world);
  const disk = from.disk.afterCrash();
  const published: Anchor[] = [];
  const ackedBefore = world.acked.length;
  let steps = 0;
  let life: Life | undefined;
  disk.options = {
    onStep: (step, path) => {
      steps++;
      if (steps > lastStep) throw new Death();
      // The last thing that a process does may be half a write.
      if (steps === lastStep && step === "write") {
        disk.options = { ...disk.options, taken: (_, bytes) => bytes >> 1 };
      }
      if (step === "syncFolder" && path === LOG_DIR) published.push(...checkpointIn(world, disk));
    },
  };
  try {
    life = new Life(world, disk, { ...SMALL_FILES, kernelBootId: kernel });
    liveOn(life);
  } catch {
    // A step that failed, somewhere; what matters is what is left.
  }
  const synced = world.acked
    .slice(ackedBefore)
    .filter(({ writer, atNs }) => atNs < (life?.syncedNs(writer) ?? 0n));
  return { world, disk, steps, published, synced };
}

/**
 * Enough of everything: batches, rotations, a full tile, checkpoints, deletions, an end in order.
 */
function liveOn(life: Life): void {
  const { world } = life;
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < 4; i++) {
      world.clock.advance(1);
      attempt(() => {
        const rid = life.allow((i % 2) as 0 | 1);
        life.append(i % 2, { ...SETTLE, rid, t: world.clock.nowMs() });
      });
    }
    world.clock.advance(2);
    life.turn();
    if (round !== 1) life.checkpoint();
    attempt(() => life.deny(0));
  }
  life.stop();
}

const SETTLE = {
  v: 1,
  k: "settle",
  node: "node-7",
  ph: "response",
  rc: "ok",
  settled: { usd_u: 1, tok: 1, calls: 1, over_u: 0 },
} as const;

/** A loop whose append fails refuses the request and goes on. */
function attempt(append: () => void): void {
  try {
    append();
  } catch {
    // The request is refused; its record is not one that was acknowledged.
  }
}

function checkpointIn(world: World, disk: TwinDisk): Anchor[] {
  const bytes = disk.contentOf(`${LOG_DIR}/checkpoint`);
  const opened = bytes && openCheckpoint(bytes, logKey(world), []);
  return opened?.ok ? [{ size: opened.value.size, root: opened.value.root }] : [];
}

/** The node comes up again, works, ends in order; then the log must hold and verify. */
function expectWhole(
  ending: Ending,
  disk: TwinDisk,
  kernel: string,
  mustHold: readonly Acked[],
): void {
  const world = copyOfWorld(ending.world);
  world.clock.advance(3_000);
  const life = new Life(world, disk, { kernelBootId: kernel });
  life.deny(0);
  life.stop();
  // Without power a file that was full may have lost its end: a gap says so, and it is told.
  const isTold = (fault: string): boolean => kernel === "boot-2" && /cannot be read/.test(fault);
  expect(life.faults.filter((fault) => !isTold(fault))).toEqual([]);
  const size = life.log.signedSize;
  const report = verify(world, disk, ending.published);
  expect(report.findings).toEqual([]);
  expect(report.checkpoint?.size).toBe(size);
  const found = new Set(
    recordsIn(disk, size).flatMap((record) =>
      "rid" in record ? [`${record.k} ${record.rid}`] : [],
    ),
  );
  const missing = mustHold.filter(({ kind, rid }) => !found.has(`${kind} ${rid}`));
  expect(missing).toEqual([]);
}

const WHOLE_LIFE = live(BEFORE, Number.POSITIVE_INFINITY, "boot-1");
const STEPS = Array.from({ length: WHOLE_LIFE.steps }, (_, i) => i + 1);
const CHOSEN = chosenFrom(STEPS);

describe(`a life of ${STEPS.length} steps of the disk, ended at ${CHOSEN.length} of them`, () => {
  test("does all there is to do when nothing ends it", () => {
    const done = WHOLE_LIFE.disk.steps.join("\n");
    expect(WHOLE_LIFE.published.length).toBeGreaterThanOrEqual(4);
    expect(done).toContain(`rename ${LOG_DIR}/tile/0/000`);
    expect(done).toMatch(/remove \/home\/wal\/\S+-loop0-2\.log/);
    expect(done).toMatch(/remove \S+\/tile\/entries\/000\.p\/\d+/);
    expectWhole(WHOLE_LIFE, WHOLE_LIFE.disk.afterCrash(), "boot-1", WHOLE_LIFE.world.acked);
  });

  test("by the death of the process: every acknowledged record is in a log that verifies", {
    timeout: TIMEOUT_MS,
  }, () => {
    for (const step of CHOSEN) {
      const ending = live(BEFORE, step, "boot-1");
      expectWhole(ending, ending.disk.afterCrash(), "boot-1", ending.world.acked);
    }
  });

  test("by a loss of power: every record counted as synced is in a log that verifies", {
    timeout: TIMEOUT_MS,
  }, () => {
    for (const step of CHOSEN) {
      const ending = live(BEFORE, step, "boot-1");
      for (let seed = 0; seed < POWER_LOSSES; seed++) {
        const disk = ending.disk.afterPowerLoss(drawsOf(PROOF.seed + step * 100 + seed));
        const before = BEFORE.world.acked;
        expectWhole(ending, disk, "boot-2", [...before, ...ending.synced]);
      }
    }
  });

  test("twice in a row, the second time while it comes up again", { timeout: TIMEOUT_MS }, () => {
    for (const [i, step] of CHOSEN.entries()) {
      if (i % 2 === 1) continue;
      const first = live(BEFORE, step, "boot-1");
      const again = { world: first.world, disk: first.disk.afterCrash() };
      again.world.clock.advance(1_000);
      const second = live(again, 1 + ((step * 7) % 90), "boot-1");
      const published = [...first.published, ...second.published];
      const ending = { ...second, published };
      expectWhole(ending, second.disk.afterCrash(), "boot-1", second.world.acked);
    }
  });
});

function chosenFrom(steps: readonly number[]): readonly number[] {
  if (PROOF.count >= steps.length) return steps;
  const draw = drawsOf(PROOF.seed);
  return steps
    .map((step) => ({ step, rank: draw() }))
    .sort((a, b) => a.rank - b.rank)
    .slice(0, PROOF.count)
    .map(({ step }) => step);
}

/** Numbers in 0..1 that follow from a seed (mulberry32). */
function drawsOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}
