import { ensureStreams } from "../adapters/nats-streams.ts";
import { type NatsServer, startNats } from "../test/support/start-nats.ts";
import { measureKills } from "./fan-out-work.ts";
import { Fleet } from "./fleet/fleet.ts";
import type { Bench, Figure } from "./harness/bench.ts";
import { pause } from "./harness/operator.ts";
import { median } from "./harness/paired.ts";
import { tellProgress } from "./harness/progress.ts";

/** The middle one is judged: one alone says as much of this machine in that second. */
const DEATHS = 5;
/** Between two deaths, so that the fleet is as quiet as one that stands. */
const APART_MS = 2_500;
const NODES = { full: 1_000, short: 100 };
/** Not measured: what reads a kill and answers it is compiled by then. */
const WARM_UP_KILLS = 20;

export const RESYNC_NOTE =
  `resync: a nats-server that is killed ${DEATHS} times. From when it listens again until every node has a kill that was said meanwhile, and the ` +
  "coordinator has heard so of each: resync_ms is the middle one of them, resync_max_ms the longest, for which twice as much is allowed. resync_enforced_ms is until the kill is in force " +
  "on the last node, without the acks.";

/** That part of `fanout` which looks at a server's death, alone. */
export const resync: Bench = {
  name: "resync",
  question: "How soon do all nodes have the mesh's state when their only server was killed?",
  run: async ({ isFull, nodes }) => {
    const size = nodes?.at(-1) ?? (isFull ? NODES.full : NODES.short);
    await using nats = await startNats();
    tellProgress(`${size} nodes start`);
    const ensure = (bus: Fleet["nats"]) => ensureStreams(bus, { replicas: 1 });
    await using fleet = await Fleet.start({ url: nats.url, size, ensure });
    await measureKills(fleet, WARM_UP_KILLS);
    const figures = await resyncAfterDeaths(nats, fleet);
    return {
      load: `${size} nodes, which are the mesh's part of a node, over one nats-server`,
      figures,
      notes: [RESYNC_NOTE],
    };
  },
};

/** A server of that many deaths, each with a kill that nobody can hear when it is said. */
export async function resyncAfterDeaths(
  nats: NatsServer,
  fleet: Fleet,
): Promise<readonly Figure[]> {
  const deaths: Awaited<ReturnType<typeof resyncAfterDeath>>[] = [];
  for (let i = 0; i < DEATHS; i += 1) {
    tellProgress(`the server dies, ${i + 1} of ${DEATHS}`);
    await pause(APART_MS);
    deaths.push(await resyncAfterDeath(nats, fleet, `team/unheard-${i}`));
  }
  const all = (of: (death: (typeof deaths)[number]) => number) => deaths.map(of);
  const ms = (name: string, value: number) => ({ name, value, unit: "ms" });
  return [
    ms("resync_ms", median(all((death) => death.ms))),
    ms("resync_max_ms", Math.max(...all((death) => death.ms))),
    ms("resync_enforced_ms", median(all((death) => death.enforcedMs))),
    { name: "nodes_missed", value: Math.max(...all(({ missed }) => missed)), unit: "" },
    { name: "consumers", value: Math.max(...all(({ consumers }) => consumers)), unit: "" },
  ];
}

/**
 * SIGKILL to the server, a kill that nobody can hear, and the server again: how long after it listens
 * until every node has that kill, and until the coordinator has heard so of each. All are open afterwards,
 * which none is without the coordinator's state.
 */
async function resyncAfterDeath(nats: NatsServer, fleet: Fleet, scope: string) {
  await nats.kill();
  const killed = fleet.kill(scope);
  await nats.restart();
  const upNs = Number(process.hrtime.bigint());
  const { cmdId, ackedNs } = await killed;
  const enforced = (await fleet.enforced(cmdId)).map(({ atNs }) => atNs);
  await fleet.whenOpen();
  const consumers = await fleet.consumers();
  const lastNs = Math.max(...enforced);
  return {
    ms: (Math.max(lastNs, ackedNs) - upNs) / 1e6,
    enforcedMs: (lastNs - upNs) / 1e6,
    missed: fleet.size - enforced.length,
    consumers,
  };
}
