import { readFileSync } from "node:fs";

/** Where control groups of version 2 are mounted on this machine; undefined when they are not. */
export function cgroupRoot(): string | undefined {
  const mounts = readFileSync("/proc/mounts", "utf8").split("\n");
  return mounts.map((line) => line.split(" ")).find(([, , kind]) => kind === "cgroup2")?.[1];
}
