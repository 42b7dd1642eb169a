import { wishBody } from "./fixtures/upstream.ts";
import type { Bench, BenchOptions, BenchResult, Figure } from "./harness/bench.ts";
import { type Answer, closedLoop } from "./harness/closed-loop.ts";
import { Crowd } from "./harness/crowd.ts";
import { Times } from "./harness/histogram.ts";
import { type MeshUnderTest, startMesh, TARGET } from "./harness/mesh-under-test.ts";
import { pause } from "./harness/operator.ts";
import { BOUND_NS, judgeKills, type KillSeen } from "./kill-verdict.ts";

const KILLS = { full: 1_000, short: 60 };
const FLOOR_KILLS = { full: 100, short: 10 };
const CROWD = { full: 10_000, short: 300 };
const WARM_UP = { full: 2_000, short: 100 };
const CONNECTIONS = 6;
const PAUSE_MS = 1;
const SCOPE = `agent/${TARGET}`;
/** How long requests go on after a kill is in force everywhere, and before the next. */
const AFTER_MS = 10;
/** Threads that take less of a processor are left out. */
const SHOWN_CORES_MIN = 0.005;

export const killBlock: Bench = {
  name: "kill-block",
  question: "Does any request whose head was complete 1 ms after a kill arrived reach an upstream?",
  run: async (options) => {
    const size = (of: { full: number; short: number }) => (options.isFull ? of.full : of.short);
    const crowdSize = { size: size(CROWD), warmUp: size(WARM_UP) };
    const agents = crowdSize.size + crowdSize.warmUp;
    await using mesh = await startMesh({ crowd: agents, isProbed: true });
    const floor = enforcedTimes(await killRepeatedly(mesh, { count: size(FLOOR_KILLS) }));
    const crowd = await Crowd.gather(mesh, crowdSize);
    const loaded = await underLoad(mesh, crowd, killLimit(options, size(KILLS)));
    return await describe(mesh, { floor, crowd, loaded });
  },
};

type KillLimit = { readonly count: number; readonly durationMs?: number };

function killLimit({ durationMs }: BenchOptions, count: number): KillLimit {
  return durationMs === undefined ? { count } : { count: Number.POSITIVE_INFINITY, durationMs };
}

type Loaded = {
  readonly kills: readonly KillSeen[];
  readonly answers: Readonly<Record<string, number>>;
  readonly sent: number;
};

async function underLoad(mesh: MeshUnderTest, crowd: Crowd, limit: KillLimit): Promise<Loaded> {
  const stop = new AbortController();
  const answers: Record<string, number> = {};
  let sent = 0;
  const asking = closedLoop(
    {
      origin: mesh.altrace.ready.gateway,
      key: mesh.keys.target,
      connections: CONNECTIONS,
      pauseMs: PAUSE_MS,
      next: () => {
        sent += 1;
        const id = `k${sent}`;
        return { id, body: wishBody("answer", id) };
      },
      onAnswer: ({ status, reason }: Answer) => {
        const word = `${status} ${reason ?? "ok"}`;
        answers[word] = (answers[word] ?? 0) + 1;
      },
      // A cut connection is one way in which a kill ends a request.
      onBroken: () => {
        answers.broken = (answers.broken ?? 0) + 1;
      },
    },
    stop.signal,
  );
  const crowding = crowd.run(stop.signal);
  const kills = await killRepeatedly(mesh, limit).finally(() => stop.abort());
  await Promise.all([asking, crowding]);
  return { kills, answers, sent };
}

async function killRepeatedly(mesh: MeshUnderTest, limit: KillLimit): Promise<KillSeen[]> {
  const seen: KillSeen[] = [];
  const endMs = Date.now() + (limit.durationMs ?? Number.POSITIVE_INFINITY);
  while (seen.length < limit.count && Date.now() < endMs) {
    // Not in step with anything that is periodic.
    await pause(AFTER_MS * (0.5 + Math.random()));
    const killed = await mesh.operator.kill(SCOPE);
    const ack = killed.nodes[0]?.ack;
    if (ack === undefined) throw new Error("a kill was done without the node's acknowledgement");
    seen.push({ enforcedNs: ack.enforcedNs, stallNs: ack.hostStallNs, durableNs: ack.durableNs });
    await pause(AFTER_MS);
    await mesh.operator.revive(SCOPE);
  }
  return seen;
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

async function describe(
  mesh: MeshUnderTest,
  measured: { readonly floor: Times; readonly crowd: Crowd; readonly loaded: Loaded },
): Promise<BenchResult> {
  const { floor, crowd, loaded } = measured;
  const log = await mesh.probed();
  const verdict = judgeKills({
    kills: loaded.kills,
    log,
    scope: SCOPE,
    reached: mesh.upstream.reached,
    floorKills: floor.count,
  });
  const all = enforcedTimes(loaded.kills);
  const own = new Times();
  for (const { enforcedNs, stallNs } of loaded.kills) {
    own.add(enforcedNs > stallNs ? enforcedNs - stallNs : 0n);
  }
  const durable = new Times();
  for (const { durableNs } of loaded.kills) durable.add(durableNs);
  const ms = (name: string, value: number) => ({ name, value, unit: "ms" });
  const count = (name: string, value: number) => ({ name, value, unit: "" });
  return {
    load: `${loaded.sent} requests of the killed agent; ${crowd.describe()}`,
    figures: [
      count("violations", verdict.violations.length),
      count("host_stall_violations", verdict.stalled.length),
      count("passed_at_revive", verdict.atRevive.length),
      count("kills", loaded.kills.length),
      count("kills_missed", verdict.killsMissed),
      count("kills_with_a_request_in_the_next_5_ms", verdict.killsTested),
      count("heads_judged", verdict.headsJudged),
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
      count("activations_per_second", crowd.requests.perSecond),
      count("activations_refused", crowd.requests.refused),
      ...coresOf(crowd),
      count("host_stalls", loaded.kills.filter(({ stallNs }) => stallNs > BOUND_NS).length),
    ],
    notes: [
      `Answers: ${JSON.stringify(loaded.answers)}.`,
      `Of node_and_coordinator_cores, by thread: ${threadsOf(crowd)}.`,
      `The five slowest kills, ms (host stall): ${slowest(loaded.kills)}.`,
      "enforced: from the receipt of the kill to the store that enforces it. own: the same, less the " +
        "time that the mesh thread waited for a processor or the collector; a host stall is more " +
        "than 1 ms of that.",
    ],
  };
}
