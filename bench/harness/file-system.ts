import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename } from "node:path";

/**
 * What a folder lies on: `ext4`, `ext4 without a journal`, `tmpfs`. What a written and synced byte costs is that
 * file system's as much as whose byte it is.
 */
export function fileSystemOf(folder: string): string {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8");
  return describeFileSystem(mounts, statSync(folder).dev, journals());
}

/** @param journaled Names of block devices whose journal the kernel has open, `vda` for one. */
export function describeFileSystem(
  mounts: string,
  device: number,
  journaled: readonly string[],
): string {
  const numbers = `${(device >> 8) & 0xfff}:${(device & 0xff) | ((device >> 12) & 0xfff00)}`;
  const line = mounts.split("\n").find((one) => one.split(" ")[2] === numbers);
  const [type, source = ""] = line?.split(" - ")[1]?.split(" ") ?? [];
  if (type === undefined) return "an unknown file system";
  const lacksJournal = type === "ext4" && !journaled.includes(basename(source));
  return lacksJournal ? "ext4 without a journal" : type;
}

/** The kernel lists them as `vda-8`: a device and its journal's inode. */
function journals(): readonly string[] {
  try {
    return readdirSync("/proc/fs/jbd2").map((name) => name.replace(/-\d+$/, ""));
  } catch {
    return [];
  }
}
