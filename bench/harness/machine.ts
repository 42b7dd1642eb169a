import { execFileSync } from "node:child_process";
import { cpus, loadavg, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { fileSystemOf } from "./file-system.ts";

const ROOT = join(import.meta.dirname, "..", "..");

/** Where and with what a figure was measured: without this it cannot be compared with another. */
export type Machine = {
  readonly at: string;
  readonly commit: string;
  readonly cpu: string;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly node: string;
  /** Where nodes have their HOME. */
  readonly fileSystem: string;
  /** Load of the minute before: on a shared machine, how far absolutes can be trusted. */
  readonly load: number;
};

export function describeMachine(): Machine {
  const all = cpus();
  return {
    at: new Date().toISOString().slice(0, 16).replace("T", " "),
    commit: commit(),
    cpu: `${all.length} x ${all[0]?.model.trim() ?? "unknown"}`,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.versions.node,
    fileSystem: fileSystemOf(tmpdir()),
    load: Math.round((loadavg()[0] as number) * 10) / 10,
  };
}

/** The commit that is checked out, and `+` when the tree differs from it. */
function commit(): string {
  const git = (...args: string[]) =>
    execFileSync("git", args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  try {
    const hash = git("rev-parse", "--short=10", "HEAD").trim();
    return git("status", "--porcelain").trim() === "" ? hash : `${hash}+`;
  } catch {
    return "unknown";
  }
}
