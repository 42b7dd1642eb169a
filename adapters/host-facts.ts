import { existsSync, readFileSync } from "node:fs";

export type HostFacts = {
  /** Files that a process started from here may have open; undefined where the system does not say. */
  readonly openFilesMax: number | undefined;
  /** A service that keeps the clock says that it does. */
  readonly isClockKept: boolean;
};

/** Where daemons that keep the clock leave word of it. */
const CLOCK_MARKS = [
  "/run/systemd/timesync/synchronized",
  "/run/chrony/chronyd.pid",
  "/run/ntpd.pid",
];

/** What Linux says of this host without being asked by a privileged user. */
export function hostFacts(): HostFacts {
  return {
    openFilesMax: openFilesMax(),
    isClockKept: CLOCK_MARKS.some((path) => existsSync(path)),
  };
}

function openFilesMax(): number | undefined {
  try {
    const line = readFileSync("/proc/self/limits", "utf8")
      .split("\n")
      .find((one) => one.startsWith("Max open files"));
    const [soft] = line?.slice("Max open files".length).trim().split(/\s+/) ?? [];
    if (soft === "unlimited") return Number.MAX_SAFE_INTEGER;
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}
