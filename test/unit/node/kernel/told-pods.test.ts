import { expect, test } from "vitest";
import { ToldPods } from "../../../../node/kernel/told-pods.ts";
import { twinClock } from "../../../../ports/twin-clock.ts";

const pod = (address: string) => ({ address, namespace: "n", name: "p", agent: "t/a" });

function told() {
  const clock = twinClock();
  const before: readonly string[] = [pod("10.0.0.9").address];
  const disk = {
    list: before as readonly string[] | undefined,
    isFull: true,
    isReadOnly: false,
  };
  const faults: string[] = [];
  const pods = new ToldPods({
    clock,
    write: (list) => {
      if (disk.isFull) throw new Error("ENOSPC");
      disk.list = list.map(({ address }) => address);
    },
    remove: () => {
      if (disk.isReadOnly) throw new Error("EROFS");
      disk.list = undefined;
    },
    onFault: (what) => faults.push(what),
  });
  return { clock, disk, faults, pods };
}

test("a list that cannot be written leaves no older one, is told once, and is written as soon as it can", () => {
  const { clock, disk, faults, pods } = told();
  pods.tell([pod("10.0.0.1")]);
  expect(disk.list).toBeUndefined();
  clock.advance(5_000);
  expect(faults).toEqual(["the node cannot be told of the pods: ENOSPC"]);
  expect(pods.unsaidBecause).toContain("ENOSPC");
  disk.isFull = false;
  clock.advance(1_000);
  expect(disk.list).toEqual(["10.0.0.1"]);
  expect(pods.unsaidBecause).toBeUndefined();
  expect(clock.pendingTimers).toBe(0);
});

test("the newest list alone is tried again", () => {
  const { clock, disk, pods } = told();
  pods.tell([pod("10.0.0.1")]);
  pods.tell([pod("10.0.0.2")]);
  disk.isFull = false;
  clock.advance(5_000);
  expect(disk.list).toEqual(["10.0.0.2"]);
  pods.tell([pod("10.0.0.3")]);
  disk.isFull = true;
  pods.tell([pod("10.0.0.4")]);
  pods.stop();
  expect(clock.pendingTimers).toBe(0);
});

test("a list that cannot be taken away either is told as what stays, and the next one is tried all the same", () => {
  const { clock, disk, faults, pods } = told();
  disk.isReadOnly = true;
  pods.tell([pod("10.0.0.1")]);
  clock.advance(5_000);
  expect(faults).toEqual([
    "the node cannot be told of the pods: ENOSPC; the list before stays: EROFS",
  ]);
  expect(pods.unsaidBecause).toBe(faults[0]);
  disk.isFull = false;
  clock.advance(1_000);
  expect(disk.list).toEqual(["10.0.0.1"]);
});
