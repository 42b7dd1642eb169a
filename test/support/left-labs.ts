import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const NAMESPACE = /^alt(\d+)x\d+-/;
const FOLDER = /^alt-lab-(\d+)-/;

/** How the names of a lab's namespaces begin: with who made it, and with a number among theirs. */
export function namespacePrefix(): string {
  return `alt${process.pid}x${Math.floor(Math.random() * 1e4)}`;
}

export function folderPrefix(): string {
  return join(tmpdir(), `alt-lab-${process.pid}-`);
}

/**
 * Takes away the labs of runs that were killed before they could: a namespace would be there until the machine is
 * started anew, and a program in it, which nobody else ends, would run until then.
 */
export function sweepLeftLabs(): void {
  for (const name of namespaces()) {
    if (!isLeft(name, NAMESPACE)) continue;
    for (const pid of pidsIn(name)) signalOne(pid, "SIGKILL");
    spawnSync("ip", ["netns", "del", name]);
  }
  for (const name of readdirSync(tmpdir()))
    if (isLeft(name, FOLDER)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
}

/** The processes of a namespace; none where it was never made. */
export function pidsIn(namespace: string): readonly number[] {
  const { stdout } = spawnSync("ip", ["netns", "pids", namespace], { encoding: "utf8" });
  return stdout.split("\n").filter(Boolean).map(Number);
}

export function signalOne(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has just ended by itself.
  }
}

function namespaces(): readonly string[] {
  const { stdout } = spawnSync("ip", ["netns", "list"], { encoding: "utf8" });
  return stdout.split("\n").map((line) => line.split(" ")[0] ?? "");
}

function isLeft(name: string, of: RegExp): boolean {
  const maker = of.exec(name)?.[1];
  return maker !== undefined && !existsSync(`/proc/${maker}`);
}
