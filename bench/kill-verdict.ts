import type { ProbeLog } from "./harness/probe-log.ts";

/** What the node acknowledged of one kill. Nanoseconds after its bytes were there. */
export type KillSeen = {
  readonly enforcedNs: bigint;
  readonly durableNs: bigint;
  /** Longest time that the mesh thread was kept from running meanwhile. */
  readonly stallNs: bigint;
};

export type KillVerdict = {
  /** Requests that reached an upstream though their head was complete too late. */
  readonly violations: readonly string[];
  /** The same, where the host kept the mesh thread from running for longer than the bound. */
  readonly stalled: readonly string[];
  /**
   * Requests whose head was complete before the revive was received, and which arrived after it: they
   * may have been decided under the revive, and usually were.
   */
  readonly atRevive: readonly string[];
  /** Kills that the probe did not see: their requests could not be judged. */
  readonly killsMissed: number;
  /** Kills with at least one head in the first milliseconds that are judged. */
  readonly killsTested: number;
  /** Heads that were complete while the agent was killed, after the bound. */
  readonly headsJudged: number;
};

/** From the receipt of a kill to the moment from which nothing may pass. */
export const BOUND_NS = 1_000_000n;
const TESTED_NS = 5_000_000n;

/**
 * Compares what reached the upstream with when it was allowed to: a request whose head was complete
 * later than `BOUND_NS` after a kill was received must not arrive before the next revive is received.
 *
 * @param of.floorKills Kills of this scope that came before those that are judged.
 */
export function judgeKills(of: {
  readonly kills: readonly KillSeen[];
  readonly log: Pick<ProbeLog, "headNs" | "changes">;
  readonly scope: string;
  /** When each request that passed arrived at the upstream. */
  readonly reached: ReadonlyMap<string, bigint>;
  readonly floorKills: number;
}): KillVerdict {
  const changes = of.log.changes.filter(({ scope }) => scope === of.scope);
  const windows = killedWindows(changes).slice(of.floorKills);
  const heads = [...of.log.headNs].sort((left, right) => (left[1] < right[1] ? -1 : 1));
  const violations: string[] = [];
  const stalled: string[] = [];
  const atRevive: string[] = [];
  let headsJudged = 0;
  let killsTested = 0;
  let at = 0;
  windows.forEach(({ fromNs, toNs }, no) => {
    while (at < heads.length && (heads[at]?.[1] as bigint) <= fromNs + BOUND_NS) at += 1;
    let isTested = false;
    for (; at < heads.length; at += 1) {
      const [id, headNs] = heads[at] as [string, bigint];
      if (headNs >= toNs) break;
      headsJudged += 1;
      if (headNs <= fromNs + BOUND_NS + TESTED_NS) isTested = true;
      const arrivedNs = of.reached.get(id);
      if (arrivedNs === undefined) continue;
      const isStalled = (of.kills[no]?.stallNs ?? 0n) > BOUND_NS;
      if (arrivedNs >= toNs) atRevive.push(id);
      else (isStalled ? stalled : violations).push(id);
    }
    if (isTested) killsTested += 1;
  });
  const killsMissed = Math.abs(of.kills.length - windows.length);
  return { violations, stalled, atRevive, killsMissed, killsTested, headsJudged };
}

type Window = { readonly fromNs: bigint; readonly toNs: bigint };

/** From each kill to the revive after it. A record that comes twice changes nothing. */
function killedWindows(changes: ProbeLog["changes"]): readonly Window[] {
  const windows: Window[] = [];
  let fromNs: bigint | undefined;
  for (const { op, receivedNs } of changes) {
    if (op === "kill") fromNs ??= receivedNs;
    else if (fromNs !== undefined) {
      windows.push({ fromNs, toNs: receivedNs });
      fromNs = undefined;
    }
  }
  if (fromNs !== undefined) windows.push({ fromNs, toNs: BigInt(Number.MAX_SAFE_INTEGER) });
  return windows;
}
