import { expect, test } from "vitest";
import { describeFileSystem } from "../../../bench/harness/file-system.ts";

const MOUNTS = [
  "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard",
  "42 27 7:0 / /mnt/a\\040b rw,relatime shared:5 - ext4 /dev/loop0 rw",
  "29 27 0:23 / /dev/shm rw - tmpfs tmpfs rw",
  "",
].join("\n");

test.each([
  [254 << 8, "ext4 without a journal"],
  [7 << 8, "ext4"],
  [23, "tmpfs"],
  [99, "an unknown file system"],
])("device %i is %s", (device, told) => {
  expect(describeFileSystem(MOUNTS, device, ["loop0"])).toBe(told);
});
