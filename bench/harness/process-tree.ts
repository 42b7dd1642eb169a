import { readdirSync, readFileSync } from "node:fs";
import { cpuMicrosOf } from "./cpu-time.ts";

const KIB_PER_MIB = 1024;

/** A process and all that descend from it and still run. */
export function treeOf(root: number): readonly number[] {
  const children = new Map<number, number[]>();
  for (const pid of readdirSync("/proc").map(Number).filter(Number.isInteger)) {
    const parent = parentOf(readOrNothing(`/proc/${pid}/stat`));
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const tree = [root];
  for (const pid of tree) tree.push(...(children.get(pid) ?? []));
  return tree;
}

/** Processor time of a tree, user and system, microseconds, in ticks of some 10,000. */
export function treeCpuMicros(root: number): number {
  const micros = treeOf(root).map((pid) => {
    const stat = readOrNothing(`/proc/${pid}/stat`);
    return stat === "" ? 0 : cpuMicrosOf(stat);
  });
  return micros.reduce((sum, one) => sum + one, 0);
}

/** Resident memory of a tree. What its processes share counts once for each. */
export function treeResidentMib(root: number): number {
  const kib = treeOf(root).map((pid) => residentKibOf(readOrNothing(`/proc/${pid}/status`)));
  return kib.reduce((sum, one) => sum + one, 0) / KIB_PER_MIB;
}

/** Field 4 of a `stat` file; the program's name before it may hold anything. */
function parentOf(stat: string): number | undefined {
  const field = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1];
  return field === undefined ? undefined : Number(field);
}

function residentKibOf(status: string): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
}

/** Processes come and go while the list is read. */
function readOrNothing(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
