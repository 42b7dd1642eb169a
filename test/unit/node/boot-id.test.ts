import { expect, test } from "vitest";
import { nextBootId } from "../../../node/boot-id.ts";
import { timeOfUuidV7 } from "../../../ports/random.ts";
import { StoreFault } from "../../../ports/store.ts";
import { twinRandom } from "../../../ports/twin-random.ts";
import { twinStore } from "../../../ports/twin-store.ts";

const NOW_MS = Date.UTC(2026, 10, 22);

test("each start has a later id than all before, wherever the clock was set and whatever was killed", async () => {
  const random = twinRandom(7);
  let store = twinStore();
  const ids: string[] = [];
  for (const nowMs of [NOW_MS, NOW_MS, NOW_MS + 9_000, 0, NOW_MS + 9_000, NOW_MS + 10_000]) {
    ids.push(await nextBootId(store, { nowMs: () => nowMs }, random));
    store = store.crash();
  }
  expect([...ids].sort()).toEqual(ids);
  expect(ids.map((id) => Number(timeOfUuidV7(id)) - NOW_MS)).toEqual([
    0, 1, 9_000, 9_001, 9_002, 10_000,
  ]);
});

test("an id that the disk did not take is nobody's", async () => {
  const store = twinStore({ commitFate: () => "fails_not_persisted" });
  const next = nextBootId(store, { nowMs: () => NOW_MS }, twinRandom(7));
  await expect(next).rejects.toThrow(StoreFault);
});
