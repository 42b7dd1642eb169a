import { expect, test } from "vitest";
import { DiskWatch } from "../../../coordinator/disk-watch.ts";
import { type Store, StoreFault } from "../../../ports/store.ts";
import { twinClock } from "../../../ports/twin-clock.ts";
import { twinStore } from "../../../ports/twin-store.ts";

/** A store on a disk that takes what is written while a test says so. */
function world() {
  const clock = twinClock();
  const inner = twinStore();
  const disk = { takes: true, tried: 0 };
  const store: Store = {
    get: (key) => inner.get(key),
    list: (prefix, options) => inner.list(prefix, options),
    close: () => inner.close(),
    commit: async (writes, guard) => {
      disk.tried += 1;
      if (!disk.takes) throw new StoreFault("read-only file system");
      return inner.commit(writes, guard);
    },
  };
  const watch = new DiskWatch(store, clock);
  const write = () => watch.store.commit([{ key: "k", value: new Uint8Array([7]) }]);
  return { clock, disk, watch, write };
}

test("a disk fails from the first write that failed until one succeeds", async () => {
  const { disk, watch, write } = world();
  expect(watch.isFailing(0)).toBe(false);
  disk.takes = false;
  expect(watch.isFailing(0)).toBe(false);
  await expect(write()).rejects.toThrow(StoreFault);
  expect(watch.isFailing(0)).toBe(true);
  disk.takes = true;
  expect(await write()).toBe("committed");
  expect(watch.isFailing(0)).toBe(false);
  expect(watch.store.get("k")).toEqual(new Uint8Array([7]));
});

test("a disk that takes writes again is found out without one of anybody's", async () => {
  const { disk, watch, write } = world();
  await watch.look();
  expect(disk.tried).toBe(0);
  disk.takes = false;
  await expect(write()).rejects.toThrow(StoreFault);
  await watch.look();
  expect(watch.isFailing(0)).toBe(true);
  disk.takes = true;
  await watch.look();
  expect(watch.isFailing(0)).toBe(false);
  expect(disk.tried).toBe(3);
});

test("a record that is not on the disk is one thing, and one that stays so for three seconds another", () => {
  const { clock, watch } = world();
  expect(watch.isFailing(1)).toBe(false);
  clock.advance(2_999);
  expect(watch.isFailing(1)).toBe(false);
  clock.advance(1);
  expect(watch.isFailing(1)).toBe(true);
  expect(watch.isFailing(0)).toBe(false);
  expect(watch.isFailing(1)).toBe(false);
});
