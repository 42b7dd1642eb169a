import { describe, expect, test } from "vitest";
import { cosignCheckpoint, headOf, openCheckpoint } from "../../../../audit/checkpoint.ts";
import type { AuditRecord } from "../../../../audit/record.ts";
import { KEY_TYPES } from "../../../../audit/signed-note.ts";
import { LOG_EPOCHS_MAX } from "../../../../coordinator/witness.ts";
import { EPOCHS_MAX, epochEndOf } from "../../../../node/audit/epoch-end.ts";
import { currentEpoch, openEpochAfter } from "../../../../node/audit/log-epoch.ts";
import { epochOfNote } from "../../../../node/audit/log-origin.ts";
import { SUCCESSOR_WAIT_MS } from "../../../../node/audit/log-thread.ts";
import { proofCount } from "../../../support/proof.ts";
import { signerOf } from "../../audit/sample-log.ts";
import {
  HOME,
  Life,
  LOG_DIR,
  logKey,
  newWorld,
  readerOf,
  recordsIn,
  verify,
  type World,
} from "./audit-life.ts";
import { TwinDisk } from "./twin-disk.ts";

const DAY_MS = 86_400_000;
const LIMITS = { records: 300, ageMs: 30 * DAY_MS };
/** At every third step of the disk, and at every one in a full proof. */
const EVERY = Math.round(3 / proofCount("epoch's end", { small: 1, full: 3 }).count);
const WITNESS = signerOf("acme/witness/c1", KEY_TYPES.cosignature, 2);

/** Every record of every log, and what is wrong with any of them. */
function allRecords(world: World, disk: TwinDisk) {
  return Array.from({ length: currentEpoch(disk, HOME).epoch }, (_, no) => {
    const report = verify(world, disk, [], no + 1);
    expect(report.findings.filter(({ code }) => code !== "checkpoint_missing")).toEqual([]);
    return recordsIn(disk, report.checkpoint?.size ?? 0, no + 1);
  });
}

function expectEachOnce(world: World, records: readonly AuditRecord[]): void {
  const rids = records.flatMap((one) => (one.k === "decision" ? [one.rid] : []));
  expect(rids.sort()).toEqual(world.acked.map(({ rid }) => rid).sort());
}

/** A log that was ended for its size and signed; the next one is not opened yet. */
function ended(world: World): Life {
  const life = new Life(world, new TwinDisk(), { limits: LIMITS });
  for (let i = 0; i < 300; i++) life.deny((i % 2) as 0 | 1);
  life.checkpoint();
  return life;
}

/** A witness has cosigned the checkpoint with this number; the line that it gave. */
function cosign(life: Life, no = -1): string {
  const text = headOf(life.signed.at(no) ?? "")?.text ?? "";
  const line = cosignCheckpoint(text, WITNESS, 1_790_000_000);
  life.log.cosigned(text, line);
  return line;
}

describe("a log that has its size", () => {
  test("ends with `close`, and the next begins with what was cosigned of it", () => {
    const world = newWorld();
    const life = ended(world);
    const line = cosign(life);
    life.turn();
    life.deny(0);
    life.checkpoint();
    expect(life.opened).toEqual([2]);
    const [first = [], second = []] = allRecords(world, life.disk);
    expect(first.at(-1)).toMatchObject({ k: "close", rc: "epoch_full", ep: 1 });
    expect(second.map(({ k }) => k)).toEqual(["genesis", "decision"]);
    const genesis = second[0] as { readonly rc: string; readonly prev: string };
    expect(genesis).toMatchObject({ rc: "epoch_full", ep: 2, seq: 0, origin: "acme/node-7/e2" });
    expect(genesis.prev.endsWith(line)).toBe(true);
    const quoted = openCheckpoint(Buffer.from(genesis.prev), logKey(world), []);
    expect(quoted).toMatchObject({ ok: true, value: { size: first.length } });
    expectEachOnce(world, [...first, ...second]);
  });

  test("waits for a witness, takes nothing meanwhile, and goes on without one after a time", () => {
    const world = newWorld();
    const life = ended(world);
    const size = life.log.signedSize;
    for (let i = 0; i < 9; i++) {
      life.deny(0);
      life.checkpoint();
    }
    expect([life.log.signedSize, life.opened]).toEqual([size, []]);
    world.clock.advance(SUCCESSOR_WAIT_MS);
    life.checkpoint();
    life.checkpoint();
    const [first = [], second = []] = allRecords(world, life.disk);
    expect([first.length, second.length]).toEqual([size, 1 + 9]);
    // A cosignature that comes now is still kept with the log that it is for.
    const line = cosign(life, -2);
    expect(readerOf(life.disk).read("checkpoint")?.toString().endsWith(line)).toBe(true);
    expect(life.faults).toEqual([]);
  });

  test.each([
    ["in the run that ended it", (life: Life) => life],
    [
      "in the next run, at once",
      (life: Life) => new Life(life.world, life.disk.afterCrash(), { limits: LIMITS }),
    ],
  ])("waits for no witness where the node stops %s", (_when, lastOf) => {
    const world = newWorld();
    const life = ended(world);
    life.deny(0);
    life.sync.round();
    const last = lastOf(life);
    last.deny(1);
    last.stop();
    const logs = allRecords(world, last.disk);
    expect([logs.length, last.opened, last.faults]).toEqual([2, [2], []]);
    expectEachOnce(world, logs.flat());
    const genesis = logs[1]?.[0] as { readonly prev: string };
    expect(headOf(genesis.prev)?.size).toBe(logs[0]?.length);
    // Nothing of it is left for another run.
    const next = new Life(world, last.disk.afterCrash(), { limits: LIMITS });
    next.stop();
    expectEachOnce(world, allRecords(world, next.disk).flat());
  });

  test.each([
    ["before it is signed", 0],
    ["once it is signed", 1],
    ["once the next one was named", 2],
    ["once the next one has records", 3],
  ])("keeps each record once when the node is killed %s", (_when, step) => {
    const world = newWorld();
    const life = new Life(world, new TwinDisk(), { limits: LIMITS });
    for (let i = 0; i < 300; i++) life.deny((i % 2) as 0 | 1);
    if (step > 0) life.checkpoint();
    if (step > 1) cosign(life);
    life.deny(1);
    if (step > 1) life.turn();
    if (step > 2) life.checkpoint();
    life.sync.round();
    const next = new Life(world, life.disk.afterCrash(), { limits: LIMITS });
    next.deny(0);
    next.checkpoint();
    world.clock.advance(SUCCESSOR_WAIT_MS);
    next.checkpoint();
    next.checkpoint();
    next.stop();
    const logs = allRecords(world, next.disk);
    expect(logs).toHaveLength(2);
    expectEachOnce(world, logs.flat());
    const genesis = logs[1]?.[0] as { readonly prev: string };
    expect(headOf(genesis.prev)?.size).toBe(logs[0]?.length);
  });

  test("keeps each record once wherever in between the node is killed", () => {
    const limits = { ...LIMITS, records: 5 };
    class Killed extends Error {}
    let steps = 0;
    for (let isOver = false; !isOver; steps += EVERY) {
      const world = newWorld();
      const life = new Life(world, new TwinDisk(), { limits });
      for (let i = 0; i < 6; i++) life.deny((i % 2) as 0 | 1);
      life.sync.round();
      let left = steps;
      life.disk.options = {
        onStep: () => {
          if (left-- <= 0) throw new Killed();
        },
      };
      try {
        life.log.absorb(() => undefined);
        cosign(life);
        world.clock.advance(1_001);
        for (let i = 0; i < 3; i++) life.log.absorb(() => undefined);
      } catch (error) {
        if (!(error instanceof Killed)) throw error;
      }
      isOver = left > 0;
      const next = new Life(world, life.disk.afterCrash(), { limits });
      next.deny(0);
      next.checkpoint();
      world.clock.advance(SUCCESSOR_WAIT_MS);
      next.checkpoint();
      next.stop();
      expectEachOnce(world, allRecords(world, next.disk).flat());
    }
    expect(steps).toBeGreaterThan(20);
  });

  test("is not followed twice: what a witness said first stands", () => {
    const world = newWorld();
    const life = ended(world);
    const opening = { rc: "disowned", prev: "what the witness has" };
    expect(openEpochAfter(life.disk, HOME, { epoch: 1, opening })).toBe(true);
    cosign(life);
    life.checkpoint();
    life.stop();
    expect(life.opened).toEqual([]);
    expect(currentEpoch(life.disk, HOME)).toEqual({ epoch: 2, opening });
    expect(openEpochAfter(life.disk, HOME, { epoch: 1, opening })).toBe(false);
  });

  test("is followed behind all logs that a witness knows of this node", () => {
    const name = { mesh: "acme", node: "node-7" };
    const epochs = ["e3", "e1024", "e1025", "e03", "e", "x3"].map((last) =>
      epochOfNote(`acme/node-7/${last}\n10\n`, name),
    );
    expect(epochs).toEqual([3, 1024, 0, 0, 0, 0]);
    expect(epochOfNote("acme/node-8/e3\n10\n", name)).toBe(0);
    expect(epochOfNote("", name)).toBe(0);
    const { disk } = new Life(newWorld(), new TwinDisk());
    const opening = { rc: "disowned", prev: "what the witness has" };
    expect(openEpochAfter(disk, HOME, { epoch: 1, opening, behind: 3 })).toBe(true);
    expect(currentEpoch(disk, HOME)).toEqual({ epoch: 4, opening });
    expect(openEpochAfter(disk, HOME, { epoch: 4, opening, behind: 3 })).toBe(true);
    expect(currentEpoch(disk, HOME).epoch).toBe(5);
  });

  test("says so when the next one cannot be opened, and tries again", () => {
    const world = newWorld();
    const life = ended(world);
    cosign(life);
    life.disk.options = {
      onStep: (step, path) => {
        if (step === "write" && path.includes("epoch.json")) throw new Error("no room");
      },
    };
    for (let i = 0; i < 3; i++) life.checkpoint();
    expect(life.opened).toEqual([]);
    expect(life.faults).toEqual(["the log that follows could not be opened"]);
    life.disk.options = {};
    life.checkpoint();
    expect(life.opened).toEqual([2]);
  });
});

test("a log that is old is ended though nothing is decided", () => {
  const world = newWorld();
  const life = new Life(world, new TwinDisk(), { limits: LIMITS });
  life.deny(0);
  life.checkpoint();
  world.clock.advance(LIMITS.ageMs);
  life.stop();
  const next = new Life(world, life.disk.afterCrash(), { limits: LIMITS });
  next.checkpoint();
  next.stop();
  const [first = []] = allRecords(world, next.disk);
  expect(first.at(-1)).toMatchObject({ k: "close", rc: "epoch_age" });
});

test("a log that does not say when it was opened counts from the next start on", () => {
  const world = newWorld();
  const life = new Life(world, new TwinDisk(), { limits: LIMITS });
  life.stop();
  const old = life.disk.afterCrash();
  old.remove(`${LOG_DIR}/opened`);
  const upgraded = new Life(world, old, { limits: LIMITS });
  upgraded.checkpoint();
  world.clock.advance(LIMITS.ageMs - 10_000);
  upgraded.stop();
  const later = new Life(world, old.afterCrash(), { limits: LIMITS });
  later.checkpoint();
  expect(currentEpoch(later.disk, HOME).epoch).toBe(1);
  world.clock.advance(10_000);
  later.checkpoint();
  world.clock.advance(SUCCESSOR_WAIT_MS);
  later.checkpoint();
  expect(later.opened).toEqual([2]);
});

test("an empty log is not ended, nor one beyond which a witness takes none", () => {
  const log = { epoch: 1, size: 0, openedMs: 0 };
  expect(epochEndOf(log, LIMITS, 400 * DAY_MS)).toBeUndefined();
  expect(epochEndOf({ ...log, size: 1 }, LIMITS, 400 * DAY_MS)).toBe("epoch_age");
  expect(epochEndOf({ ...log, size: 300 }, LIMITS, 1)).toBe("epoch_full");
  expect(epochEndOf({ ...log, size: 300, epoch: EPOCHS_MAX }, LIMITS, 1)).toBeUndefined();
  expect(EPOCHS_MAX).toBe(LOG_EPOCHS_MAX);
});
