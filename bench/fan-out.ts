import { ensureStreams } from "../adapters/nats-streams.ts";
import { startNats } from "../test/support/start-nats.ts";
import { largerMeshes } from "./fan-out-arithmetic.ts";
import { killsWithoutLeader } from "./fan-out-leaderless.ts";
import { RESYNC_NOTE, resyncAfterDeaths } from "./fan-out-resync.ts";
import { bareBroadcasts, type Measured, measureKills, pulledBroadcasts } from "./fan-out-work.ts";
import { openBareWay } from "./fleet/bare-way.ts";
import { Fleet, sumOf } from "./fleet/fleet.ts";
import type { Bench, BenchOptions, Figure } from "./harness/bench.ts";
import { cpuMicros } from "./harness/cpu-time.ts";
import { pause } from "./harness/operator.ts";
import { judgePairs, PAIRS_MIN, type Pair } from "./harness/paired.ts";
import { tellProgress } from "./harness/progress.ts";

const NODES = { full: [10, 100, 500, 1_000], short: [10, 100] };
/** Told by multiplication alone. */
const LARGER = [10_000, 100_000];
const KILLS_MIN = 20;
/** Enough messages that the kernel's ticks of 10 ms count for little. */
const DELIVERIES = { full: 20_000, short: 5_000 };
/** A small mesh would be killed for minutes; its figures are not judged. */
const KILLS_MAX = 200;
const ONE_NODE_KILLS = { full: 300, short: 100 };
/** Not measured: an hour's digests bring a connection as many messages, and what reads them is compiled by then. */
const WARM_UP_KILLS = { full: 400, short: 100 };
const IDLE_MS = 4_000;

export const fanout: Bench = {
  name: "fanout",
  question: "What does a kill cost with many nodes, and when is it in force on the last of them?",
  run: async (options, budget) => {
    tellProgress("one node");
    const one = await atOneNode(options);
    const figures: Figure[] = [...one];
    const notes: string[] = [];
    const sizes = options.nodes ?? (options.isFull ? NODES.full : NODES.short);
    for (const size of sizes) {
      tellProgress(`${size} nodes`);
      const isLast = size === sizes.at(-1);
      const stage = await atSize(size, {
        isLast,
        deliveries: options.isFull ? DELIVERIES.full : DELIVERIES.short,
        ratioMust: budget.cpu_ratio?.must ?? Number.NaN,
      });
      figures.push(...stage.figures);
      notes.push(...stage.notes);
    }
    tellProgress("three servers without a leader");
    const leaderless = await killsWithoutLeader();
    figures.push(...leaderless.figures);
    return {
      load: `${sizes.join(", ")} nodes, which are the mesh's part of a node, over one nats-server`,
      figures,
      notes: [...notes, ...leaderless.notes, ...NOTES],
    };
  },
};

const NOTES = [
  "one_node: of a mesh that has rehearsed for some minutes; one_node_operator and one_node_said are those of later kills. " +
    "The operator's side of the call is in the coordinator's process, which has made such calls before: one in a process of " +
    "its own waits for another wake-up, and its first calls take three times as long.",
  "one_node_bare: the same way with nothing done on it, in turn with the kills: a call that @grpc/grpc-js answers, a message " +
    "over NATS, the callback in the node's process. Where that alone takes more than 1 ms, no kill takes less. " +
    "one_node_call, _hop and _node are the parts of a kill's way: to the coordinator's word, to the node's callback, to its cell.",
  "Coordinator, server and all nodes share this machine's processors: signatures of a thousand nodes, " +
    "which are a thousand machines' work, are part of every time here, and none of the server's processor time.",
  "cpu_ratio: the server's processor time a kill, against a bare broadcast of as many bytes that every one " +
    "of as many connections checks and answers once, signed; interleaved, less what the server does anyway.",
  "unsigned_server_cpu_ms: the same answered at once and unsigned. Such answers come in a burst, which wakes " +
    "the server less often: a machine for each node, as meshes have, is between the two.",
  RESYNC_NOTE,
];

/** From the operator's call, over gRPC, to the cell of the only node: the first after a start, the next, and many later ones. */
async function atOneNode({ isFull }: BenchOptions): Promise<readonly Figure[]> {
  await using nats = await startNats();
  await using fleet = await fleetOf(nats.url, 1);
  const first = await measureKills(fleet, 1);
  const next = await measureKills(fleet, KILLS_MIN);
  await using bare = await openBareWay(nats.url, fleet);
  const [warmUp, kills] = isFull
    ? [WARM_UP_KILLS.full, ONE_NODE_KILLS.full]
    : [WARM_UP_KILLS.short, ONE_NODE_KILLS.short];
  await measureKills(fleet, warmUp, () => bare.go(false));
  // In turn: both find the machine as the other does.
  const { asked, said, parts } = await measureKills(fleet, kills, () => bare.go(true));
  const ms = (name: string, value: number) => ({ name, value, unit: "ms" });
  return [
    ms("one_node_first_ms", first.asked.maxMs),
    ms("one_node_next_20_p50_ms", next.asked.percentileMs(50)),
    ms("one_node_operator_p50_ms", asked.percentileMs(50)),
    ms("one_node_operator_p99_ms", asked.percentileMs(99)),
    ms("one_node_said_p50_ms", said.percentileMs(50)),
    ms("one_node_said_p99_ms", said.percentileMs(99)),
    ms("one_node_call_p50_ms", parts.call.percentileMs(50)),
    ms("one_node_hop_p50_ms", parts.hop.percentileMs(50)),
    ms("one_node_node_p50_ms", parts.node.percentileMs(50)),
    ms("one_node_bare_p50_ms", bare.times.percentileMs(50)),
    {
      name: "one_node_of_bare",
      value: asked.percentileMs(50) / bare.times.percentileMs(50),
      unit: "x",
    },
  ];
}

function fleetOf(url: string, size: number): Promise<Fleet> {
  return Fleet.start({ url, size, ensure: (bus) => ensureStreams(bus, { replicas: 1 }) });
}

async function atSize(
  size: number,
  {
    isLast,
    deliveries,
    ratioMust,
  }: { readonly isLast: boolean; readonly deliveries: number; readonly ratioMust: number },
): Promise<{ readonly figures: readonly Figure[]; readonly notes: readonly string[] }> {
  await using nats = await startNats();
  await using fleet = await fleetOf(nats.url, size);
  const pid = nats.pid as number;
  const kills = Math.min(KILLS_MAX, Math.max(KILLS_MIN, Math.ceil(deliveries / size)));
  await measureKills(fleet, KILLS_MIN);
  const rssMib = sumOf(await fleet.status(), "rssBytes") / size / 2 ** 20;
  const idle = await idleRate(pid);
  const all: Measured[] = [];
  const subject = () =>
    costOf({ pid, idle, kills }, async () => {
      all.push(await measureKills(fleet, kills));
    });
  await fleet.ask({ t: "bare_connect" });
  const bare = bareBroadcasts(nats.url, size);
  const bareCost = (kind: "signed" | "unsigned") =>
    costOf({ pid, idle, kills }, async () => (await bare).run(kills, kind));
  const pairs: Pair[] = [];
  for (let i = 0; i < (isLast ? PAIRS_MIN : 1); i += 1) {
    pairs.push({ subject: await subject(), baseline: await bareCost("signed") });
  }
  const unsigned = await bareCost("unsigned");
  await (await bare).close();
  await fleet.ask({ t: "disconnect" });
  const first = pairs[0] as Pair;
  const figures: Figure[] = [...timesOf(size, all), ...costsOf(size, first, rssMib)];
  figures.push({ name: `n${size}_unsigned_server_cpu_ms`, value: unsigned, unit: "ms" });
  if (!isLast) return { figures, notes: [] };
  const pairsVerdict = judgePairs(pairs, ratioMust);
  figures.push({ name: "cpu_ratio", value: pairsVerdict.median, unit: "", pairs: pairsVerdict });
  const resync = await resyncAfterDeaths(nats, fleet);
  tellProgress("durable pull consumers");
  // The server that came back is another process.
  const pulled = await pulledBroadcasts(nats.url, fleet, kills, () =>
    cpuMicros(nats.pid as number),
  );
  figures.push(
    ...resync,
    { name: `pull_${size}_server_cpu_ms`, value: pulled.cpuMs, unit: "ms" },
    { name: `pull_${size}_all_acks_p50_ms`, value: pulled.allAcks.percentileMs(50), unit: "ms" },
    { name: `pull_${size}_all_acks_p99_ms`, value: pulled.allAcks.percentileMs(99), unit: "ms" },
  );
  const acks = all[0]?.acksPerKill ?? 0;
  const largest = {
    nodes: size,
    killCpuMs: first.subject,
    bareCpuMs: first.baseline,
    acksPerNode: acks / size,
  };
  const notes = [
    ...largerMeshes(largest, LARGER),
    `${acks.toFixed(1)} acks from ${size} nodes a kill.`,
    `pull: ${size} durable pull consumers, which answer and acknowledge every message.`,
  ];
  return { figures, notes };
}

/** Microseconds of the server's processor time a second while nothing is killed. */
async function idleRate(pid: number): Promise<number> {
  const before = cpuMicros(pid);
  await pause(IDLE_MS);
  return ((cpuMicros(pid) - before) / IDLE_MS) * 1_000;
}

/** Milliseconds of the server's processor time for one of `kills`, less what it does anyway. */
async function costOf(
  of: { readonly pid: number; readonly idle: number; readonly kills: number },
  work: () => Promise<void>,
): Promise<number> {
  const before = cpuMicros(of.pid);
  const startedNs = process.hrtime.bigint();
  await work();
  const seconds = Number(process.hrtime.bigint() - startedNs) / 1e9;
  return (cpuMicros(of.pid) - before - seconds * of.idle) / of.kills / 1_000;
}

function timesOf(size: number, all: readonly Measured[]): readonly Figure[] {
  const [measured] = all;
  if (measured === undefined) throw new Error("nothing was measured");
  const { each, last, acked } = measured;
  return [
    ["enforced", each],
    ["all_enforced", last],
    ["all_acks", acked],
  ].flatMap(([name, times]) => {
    const of = times as Measured["each"];
    return [
      { name: `n${size}_${name}_p50_ms`, value: of.percentileMs(50), unit: "ms" },
      { name: `n${size}_${name}_p99_ms`, value: of.percentileMs(99), unit: "ms" },
      { name: `n${size}_${name}_max_ms`, value: of.maxMs, unit: "ms" },
    ];
  });
}

function costsOf(size: number, pair: Pair, rssMib: number): readonly Figure[] {
  return [
    { name: `n${size}_server_cpu_ms`, value: pair.subject, unit: "ms" },
    { name: `n${size}_bare_server_cpu_ms`, value: pair.baseline, unit: "ms" },
    { name: `n${size}_rss_mib`, value: rssMib, unit: "MiB" },
  ];
}
