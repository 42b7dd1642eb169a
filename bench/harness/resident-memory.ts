import { readFileSync } from "node:fs";

const KIB_PER_MIB = 1024;

/** Memory of one process that is resident, MiB: the parts add up to `allMib`. */
export type ResidentMemory = {
  /** What `ps` and a container's limit show as RSS. */
  readonly allMib: number;
  /** Its own: heaps, buffers, stacks. No other process can share them, and the kernel cannot drop them. */
  readonly anonymousMib: number;
  /** Pages of its stores (LMDB), which the kernel has read and can drop. */
  readonly storeMib: number;
  /** Pages of the program and of its libraries, which processes of one program share. */
  readonly programMib: number;
};

/** @param smaps Text of `/proc/PID/smaps`. @see https://man7.org/linux/man-pages/man5/proc_pid_smaps.5.html */
export function residentMemoryOf(smaps: string): ResidentMemory {
  let [all, anonymous, store] = [0, 0, 0];
  let file = "";
  for (const line of smaps.split("\n")) {
    const mapping = MAPPING.exec(line);
    if (mapping !== null) file = mapping[1] ?? "";
    const [, name, kib] = AMOUNT.exec(line) ?? [];
    if (name === "Rss") {
      all += Number(kib);
      if (file.endsWith(STORE_FILE)) store += Number(kib);
    }
    if (name === "Anonymous") anonymous += Number(kib);
  }
  return {
    allMib: all / KIB_PER_MIB,
    anonymousMib: anonymous / KIB_PER_MIB,
    storeMib: store / KIB_PER_MIB,
    programMib: (all - anonymous - store) / KIB_PER_MIB,
  };
}

export function residentMemory(pid: number): ResidentMemory {
  return residentMemoryOf(readFileSync(`/proc/${pid}/smaps`, "utf8"));
}

/** Address range, permissions, offset, device, inode, and the file where there is one. */
const MAPPING = /^[0-9a-f]+-[0-9a-f]+ \S{4} [0-9a-f]+ \S+ \d+\s*(.*)$/;
const AMOUNT = /^(Rss|Anonymous):\s+(\d+) kB$/;
const STORE_FILE = ".mdb";
