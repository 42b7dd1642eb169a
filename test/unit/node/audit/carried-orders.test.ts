import { expect, test } from "vitest";
import { CarriedOrders } from "../../../../node/audit/carried-orders.ts";
import { PERSONS_FOLDER } from "../../../../node/audit/person-keys.ts";
import { TwinDisk } from "./twin-disk.ts";

/** A disk with the folder of keys. */
function diskWithKeys(): TwinDisk {
  const disk = new TwinDisk();
  disk.makeFolder(`/home/${PERSONS_FOLDER}`);
  disk.syncFolder("/home");
  return disk;
}

const [FIRST, SECOND] = ["redaction/1", "redaction/2"];
/** Nothing stays that need not. */
const nothingMore = () => 0;

test("what was taken down stays, also where the power is lost", () => {
  const disk = diskWithKeys();
  new CarriedOrders(disk, "/home").add(FIRST);
  const next = new CarriedOrders(disk.afterPowerLoss(nothingMore), "/home");
  expect([next.has(FIRST), next.has(SECOND)]).toEqual([true, false]);
});

test("what the disk took half of was not taken down, and the same again does it", () => {
  const disk = diskWithKeys();
  const orders = new CarriedOrders(disk, "/home");
  disk.options = { taken: (_, bytes) => bytes - 1 };
  expect(() => orders.add(FIRST)).toThrow("35 bytes of an order");
  expect(orders.has(FIRST)).toBe(false);
  disk.options = {};
  orders.add(FIRST);
  orders.add(SECOND);
  const next = new CarriedOrders(disk.afterCrash(), "/home");
  expect([next.has(FIRST), next.has(SECOND)]).toEqual([true, true]);
});

test("what is damaged was not carried out; what stands behind it was", () => {
  const disk = diskWithKeys();
  const orders = new CarriedOrders(disk, "/home");
  for (const one of [FIRST, SECOND]) orders.add(one);
  // The last byte of its check.
  disk.spoil(`/home/${PERSONS_FOLDER}/orders`, (data) => {
    data[35] = ~(data[35] as number);
    return data;
  });
  const next = new CarriedOrders(disk, "/home");
  expect([next.has(FIRST), next.has(SECOND)]).toEqual([false, true]);
});

test("its file is closed with it", () => {
  const disk = diskWithKeys();
  new CarriedOrders(disk, "/home").close();
  expect(disk.openFiles).toBe(0);
});
