import { expect, test } from "vitest";
import { connectionsMaxOf, RESERVED_FILES } from "../../../../node/dataplane/admission-cap.ts";
import { FRESHNESS_CHECK_MS, watchFreshness } from "../../../../node/dataplane/watch-freshness.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";

test("what is open is closed at each look while the table is stale, by this loop's own timer", () => {
  const clock = twinClock();
  let openUntilNs = clock.monoNs() + 250_000_000n;
  const cuts: unknown[] = [];
  const watch = watchFreshness({
    isFresh: (nowNs) => nowNs < openUntilNs,
    clock,
    closeAll: (cut) => cuts.push(cut),
  });
  clock.advance(2 * FRESHNESS_CHECK_MS);
  expect(cuts).toEqual([]);
  clock.advance(2 * FRESHNESS_CHECK_MS);
  const stale = { by: "reason", reason: "mesh_stale" };
  expect(cuts).toEqual([stale, stale]);
  openUntilNs = clock.monoNs() + 1_000_000_000n;
  clock.advance(FRESHNESS_CHECK_MS);
  expect(cuts).toHaveLength(2);
  watch.stop();
  expect(clock.pendingTimers).toBe(0);
});

test("a loop admits half of the files that are left, shared among loops", () => {
  expect(connectionsMaxOf({ openFilesMax: 20_000, loops: 1 })).toBe((20_000 - RESERVED_FILES) / 2);
  expect(connectionsMaxOf({ openFilesMax: 20_000, loops: 4 })).toBe(2_468);
  expect(connectionsMaxOf({ openFilesMax: RESERVED_FILES + 127, loops: 1 })).toBeUndefined();
  expect(connectionsMaxOf({ openFilesMax: Number.POSITIVE_INFINITY, loops: 1 })).toBe(
    Number.POSITIVE_INFINITY,
  );
});
