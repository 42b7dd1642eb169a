import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** What the probes of one node wrote down. Monotonic nanoseconds of this machine. */
export type ProbeLog = {
  /** Complete heads, by the client's request id. */
  readonly headNs: ReadonlyMap<string, bigint>;
  /** Answers whose first bytes were written, by the client's request id. */
  readonly writtenNs: ReadonlyMap<string, bigint>;
  /** Kills and revives of all scopes, in the order of their receipt. */
  readonly changes: readonly Change[];
};

export type Change = {
  readonly op: "kill" | "revive";
  readonly scope: string;
  readonly receivedNs: bigint;
};

/** Reads what is there; the last tenth of a second may still be missing from a running node. */
export function readProbeLog(folder: string): ProbeLog {
  const headNs = new Map<string, bigint>();
  const writtenNs = new Map<string, bigint>();
  const changes: Change[] = [];
  for (const name of readdirSync(folder)) {
    const text = readFileSync(join(folder, name), "utf8");
    for (const line of text.slice(0, text.lastIndexOf("\n") + 1).split("\n")) {
      const [what, of, ns] = line.split(" ");
      if (what === undefined || of === undefined || ns === undefined) continue;
      if (what === "h") headNs.set(of, BigInt(ns));
      else if (what === "w") writtenNs.set(of, BigInt(ns));
      else if (what === "kill" || what === "revive") {
        changes.push({ op: what, scope: of, receivedNs: BigInt(ns) });
      }
    }
  }
  changes.sort((left, right) => (left.receivedNs < right.receivedNs ? -1 : 1));
  return { headNs, writtenNs, changes };
}
