import { COMMITTED_PATTERN, CONTROL_STREAM } from "../proto/subjects.ts";
import { ensureReplicatedStreams, startNatsCluster } from "../test/support/nats-cluster.ts";
import { Fleet } from "./fleet/fleet.ts";
import type { Figure } from "./harness/bench.ts";

const NODES = 30;
const KILLS = 20;

/**
 * Three servers hold the streams; the one that leads them is killed with SIGKILL, and kills follow at
 * once, while nobody can store anything. A third of the nodes, or the coordinator, has just lost its
 * connection.
 */
export async function killsWithoutLeader(): Promise<{
  readonly figures: readonly Figure[];
  readonly notes: readonly string[];
}> {
  await using cluster = await startNatsCluster();
  await using fleet = await Fleet.start({
    url: cluster.url,
    size: NODES,
    ensure: ensureReplicatedStreams,
  });
  await fleet.kill();
  const leader = await cluster.leaderOf(fleet.nats, CONTROL_STREAM);
  if (leader === undefined) throw new Error("the streams have no leader before it is killed");
  const lasts: number[] = [];
  let stored = 0;
  fleet.nats.listen(COMMITTED_PATTERN, () => {
    stored += 1;
  });
  await leader.kill();
  const deadNs = Number(process.hrtime.bigint());
  for (let i = 0; i < KILLS; i += 1) {
    const { cmdId, askedNs } = await fleet.kill();
    const enforced = (await fleet.enforced(cmdId)).map(({ atNs }) => atNs);
    if (enforced.length !== NODES) throw new Error(`${enforced.length} of ${NODES}`);
    lasts.push((Math.max(...enforced) - askedNs) / 1e6);
  }
  // Copies of what is stored are heard by this connection too, which is another server's by now.
  const withoutLeader = KILLS - stored;
  const outageMs = (Number(process.hrtime.bigint()) - deadNs) / 1e6;
  return {
    figures: [
      { name: "leaderless_first_ms", value: lasts[0] as number, unit: "ms" },
      { name: "leaderless_all_enforced_ms", value: Math.max(...lasts), unit: "ms" },
      { name: "leaderless_kills", value: withoutLeader, unit: "" },
    ],
    notes: [
      `leaderless: ${KILLS} kills within ${outageMs.toFixed(0)} ms of the SIGKILL to the streams' leader, ` +
        `from the operator's call to the last of ${NODES} nodes; ${withoutLeader} of them while nothing was stored.`,
    ],
  };
}
