import type { Bench, BenchOptions, BenchResult, Figure } from "./harness/bench.ts";
import { Crowd } from "./harness/crowd.ts";
import { Times } from "./harness/histogram.ts";
import { type MeshUnderTest, startMesh, TARGET } from "./harness/mesh-under-test.ts";
import { pause } from "./harness/operator.ts";
import { judgePairs } from "./harness/paired.ts";
import { TargetRequests } from "./harness/target-requests.ts";
import { BOUND_NS, judgeKills, type KillSeen } from "./kill-verdict.ts";

const KILLS = { full: 1_000, short: 60 };
const FLOOR_KILLS = { full: 100, short: 10 };
/** Agents that make their first request beside the kills, a second. */
const WANTED_PER_SECOND = { full: 1_000, short: 200 };
/** Sent a second, of each that is wanted: what is answered can be no more than what is sent. */
const SENT_SHARE = 1.03;
/** Seconds for which there are new agents. In full, who asked first has been let go by then and asks again. */
const CROWD_SECONDS = { full: 36, short: 12 };
const WARM_UP = { full: 2_000, short: 100 };
/** Parts of the time, each judged by itself. */
const PARTS = 5;
const SCOPE = `agent/${TARGET}`;
/** Of the kills, those with a request right after them: without one nothing could have passed, whatever the node does. */
const TESTED_SHARE_MIN = 0.25;
/** How long the agent asks at full pace before it is killed, and after its kill was done everywhere. */
const LEAD_MS = { min: 2, max: 8 };
const AFTER_MS = { min: 3, max: 8 };
/** Threads that take less of a processor are left out. */
const SHOWN_CORES_MIN = 0.005;

export const killBlock: Bench = {
  name: "kill-block",
  question: "Does any request whose head was complete 1 ms after a kill arrived reach an upstream?",
  run: async (options) => {
    const form = options.isFull ? "full" : "short";
    const wanted = WANTED_PER_SECOND[form];
    const perSecond = wanted * SENT_SHARE;
    const size = Math.ceil(CROWD_SECONDS[form] * perSecond);
    const crowdSize = { size, perSecond, warmUp: WARM_UP[form] };
    await using mesh = await startMesh({
      crowd: crowdSize.size + crowdSize.warmUp,
      isProbed: true,
    });
    const target = new TargetRequests(mesh);
    const floor = enforcedTimes(await killRepeatedly(mesh, target, { count: FLOOR_KILLS[form] }));
    const crowd = await Crowd.gather(mesh, crowdSize);
    const kills = await underLoad({ mesh, target, crowd }, killLimit(options, KILLS[form]));
    return await describe(mesh, { floor, target, crowd, kills, wanted });
  },
};

type KillLimit = { readonly count: number; readonly durationMs?: number };

/** A kill under load, and whether agents made their first requests until it was done. */
type LoadedKill = KillSeen & { readonly isBesideCrowd: boolean };

function killLimit({ durationMs }: BenchOptions, count: number): KillLimit {
  return durationMs === undefined ? { count } : { count: Number.POSITIVE_INFINITY, durationMs };
}

async function underLoad(
  of: { readonly mesh: MeshUnderTest; readonly target: TargetRequests; readonly crowd: Crowd },
  limit: KillLimit,
): Promise<readonly LoadedKill[]> {
  const { mesh, target, crowd } = of;
  const stop = new AbortController();
  const asking = target.run(stop.signal);
  const crowding = crowd.run(stop.signal);
  const kills: LoadedKill[] = [];
  const isBesideCrowd = () => !crowd.requests.isOver;
  await killRepeatedly(mesh, target, limit, (kill) => {
    kills.push({ ...kill, isBesideCrowd: isBesideCrowd() });
  }).finally(() => stop.abort());
  await Promise.all([asking, crowding]);
  return kills;
}

/** Kills and revives as fast as both are done. The agent asks around each kill, and at no other time. */
async function killRepeatedly(
  mesh: MeshUnderTest,
  target: TargetRequests,
  limit: KillLimit,
  onKill: (kill: KillSeen) => void = () => undefined,
): Promise<KillSeen[]> {
  const seen: KillSeen[] = [];
  const endMs = Date.now() + (limit.durationMs ?? Number.POSITIVE_INFINITY);
  while (seen.length < limit.count && Date.now() < endMs) {
    target.begin();
    // Not in step with anything that is periodic.
    await pause(between(LEAD_MS));
    const killed = await mesh.operator.kill(SCOPE);
    const ack = killed.nodes[0]?.ack;
    if (ack === undefined) throw new Error("a kill was done without the node's acknowledgement");
    const { enforcedNs, hostStallNs: stallNs, durableNs } = ack;
    seen.push({ enforcedNs, stallNs, durableNs });
    onKill({ enforcedNs, stallNs, durableNs });
    await pause(between(AFTER_MS));
    target.rest();
    await mesh.operator.revive(SCOPE);
  }
  return seen;
}

function between({ min, max }: { readonly min: number; readonly max: number }): number {
  return min + Math.random() * (max - min);
}

function enforcedTimes(kills: readonly KillSeen[]): Times {
  const times = new Times();
  for (const { enforcedNs } of kills) times.add(enforcedNs);
  return times;
}

function slowest(kills: readonly KillSeen[]): string {
  const ms = (ns: bigint) => (Number(ns) / 1e6).toFixed(2);
  return kills
    .toSorted((left, right) => Number(right.enforcedNs - left.enforcedNs))
    .slice(0, 5)
    .map(({ enforcedNs, stallNs }) => `${ms(enforcedNs)} (${ms(stallNs)})`)
    .join(", ");
}

/** Whoever reads a rate must know what of the machine was to be had. */
function coresOf({ cores }: Crowd): Figure[] {
  const figure = (name: string, value: number) => ({ name, value, unit: "cores" });
  return [
    figure("node_and_coordinator_cores", cores.node),
    figure("generator_and_upstream_cores", cores.generator),
    figure("other_programs_cores", cores.others),
  ];
}

/** Which of the node's threads the rate takes most of. */
function threadsOf({ cores }: Crowd): string {
  return [...cores.threads]
    .filter(([, share]) => share >= SHOWN_CORES_MIN)
    .sort(([, left], [, right]) => right - left)
    .map(([name, share]) => `${name} ${share.toFixed(2)}`)
    .join(", ");
}

/** Kills were beside activations at the rate that is wanted, or the figures say that they were not. */
function activationFigures({ crowd, wanted }: Measured): Figure[] {
  const { all, parts } = crowd.perSecond(PARTS);
  const pairs = parts.map((achieved) => ({ subject: wanted, baseline: achieved }));
  const verdict = judgePairs(pairs, 1);
  const { times, refused } = crowd.requests;
  const ms = (name: string, percent: number) => {
    return { name, value: times.percentileMs(percent), unit: "ms" };
  };
  return [
    { name: "activations_offered_per_second", value: wanted * SENT_SHARE, unit: "" },
    { name: "activations_per_second", value: all, unit: "" },
    { name: "activations_wanted_ratio", value: verdict.median, unit: "x", pairs: verdict },
    { name: "activations_refused", value: refused, unit: "" },
    ms("activation_p50_ms", 50),
    ms("activation_p99_ms", 99),
    { name: "activation_max_ms", value: times.maxMs, unit: "ms" },
  ];
}

type Measured = {
  readonly floor: Times;
  readonly target: TargetRequests;
  readonly crowd: Crowd;
  readonly kills: readonly LoadedKill[];
  /** Activations a second. */
  readonly wanted: number;
};

async function describe(mesh: MeshUnderTest, measured: Measured): Promise<BenchResult> {
  const { floor, target, crowd, kills } = measured;
  const log = await mesh.probed();
  const verdict = judgeKills({
    kills,
    log,
    scope: SCOPE,
    reached: mesh.upstream.reached,
    floorKills: floor.count,
  });
  if (verdict.killsTested < TESTED_SHARE_MIN * kills.length) {
    const { killsTested } = verdict;
    throw new Error(`of ${kills.length} kills ${killsTested} had a request that could have passed`);
  }
  const count = (name: string, value: number) => ({ name, value, unit: "" });
  return {
    load: `${target.sent} requests of the killed agent; ${crowd.describe()}`,
    figures: [
      count("violations", verdict.violations.length),
      count("host_stall_violations", verdict.stalled.length),
      count("passed_at_revive", verdict.atRevive.length),
      count("kills", kills.length),
      count("kills_missed", verdict.killsMissed),
      count("kills_without_activations", kills.filter((one) => !one.isBesideCrowd).length),
      count("kills_with_a_request_in_the_next_5_ms", verdict.killsTested),
      count("heads_judged", verdict.headsJudged),
      ...timeFigures(kills, floor),
      ...activationFigures(measured),
      ...coresOf(crowd),
      count("host_stalls", kills.filter(({ stallNs }) => stallNs > BOUND_NS).length),
    ],
    notes: [
      `Answers: ${JSON.stringify(target.answers)}.`,
      `Of node_and_coordinator_cores, by thread: ${threadsOf(crowd)}.`,
      `The five slowest kills, ms (host stall): ${slowest(kills)}.`,
      "enforced: from the receipt of the kill to the store that enforces it. own: the same, less the " +
        "time that the mesh thread waited for a processor or the collector; a host stall is more " +
        "than 1 ms of that.",
      `activations_wanted_ratio: ${measured.wanted} a second over what was answered, in ${PARTS} parts of ` +
        "the time. activation: from the moment at which it was due to its whole answer.",
    ],
  };
}

function timeFigures(kills: readonly KillSeen[], floor: Times): Figure[] {
  const all = enforcedTimes(kills);
  const own = new Times();
  const durable = new Times();
  for (const { enforcedNs, stallNs, durableNs } of kills) {
    own.add(enforcedNs > stallNs ? enforcedNs - stallNs : 0n);
    durable.add(durableNs);
  }
  const ms = (name: string, value: number) => ({ name, value, unit: "ms" });
  return [
    ms("own_p50_ms", own.percentileMs(50)),
    ms("own_p99_ms", own.percentileMs(99)),
    ms("own_max_ms", own.maxMs),
    ms("enforced_p50_ms", all.percentileMs(50)),
    ms("enforced_p99_ms", all.percentileMs(99)),
    ms("enforced_max_ms", all.maxMs),
    ms("idle_floor_p50_ms", floor.percentileMs(50)),
    ms("idle_floor_p99_ms", floor.percentileMs(99)),
    ms("durable_p50_ms", durable.percentileMs(50)),
    ms("durable_p99_ms", durable.percentileMs(99)),
  ];
}
