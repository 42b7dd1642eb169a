import { FarEnd, farHello, TunnelClient } from "./fixtures/tunnel-crowd.ts";
import type { Bench, BenchResult } from "./harness/bench.ts";
import { Times } from "./harness/histogram.ts";
import { killFloorMs } from "./harness/kill-floor.ts";
import { type MeshUnderTest, startMesh, TARGET } from "./harness/mesh-under-test.ts";
import { openMany } from "./harness/open-many.ts";
import { pause } from "./harness/operator.ts";
import { median, rangeOf } from "./harness/paired.ts";
import { lastClosedNs } from "./harness/socket-end.ts";
import { startBareTunnels } from "./harness/start-bare-proxy.ts";
import { until } from "./harness/until.ts";

/** The limit on descriptors is an admission cap: node and bench have two for each tunnel. */
const TUNNELS = { full: 5_000, short: 1_000 };
const ROUNDS = { full: 3, short: 1 };
const NEIGHBOURS = 20;
const CLOSE_TIMEOUT_MS = 10_000;
const FLOOR_MS = 1_000;
const SCOPE = `agent/${TARGET}`;

export const tunnels: Bench = {
  name: "tunnels",
  question: "How long after a kill arrived did the last tunnel end, as both peers see it?",
  run: async ({ isFull }) => {
    const count = isFull ? TUNNELS.full : TUNNELS.short;
    await using far = new FarEnd();
    const target = await far.listen();
    await using mesh = await startMesh({ isProbed: true, tunnelsTo: target });
    const at = { far, target, hello: await farHello(), proxy: new URL(mesh.altrace.ready.forward) };
    const neighbours = await openAll(at, mesh.keys.neighbour, NEIGHBOURS);
    const beside = new Beside(neighbours);
    const rounds: Round[] = [];
    const floorMs: number[] = [];
    for (let no = 0; no < (isFull ? ROUNDS.full : ROUNDS.short); no += 1) {
      rounds.push(await oneRound(mesh, at, count, beside));
      await mesh.operator.revive(SCOPE);
      floorMs.push(await floorRoundMs(at, count));
    }
    for (const client of neighbours) client.destroy();
    return await describe(mesh, rounds, { count, beside, floorMs });
  },
};

type Place = {
  readonly far: FarEnd;
  readonly target: string;
  readonly hello: Buffer;
  readonly proxy: URL;
};

type Round = {
  readonly clientLastNs: bigint;
  readonly farLastNs: bigint;
  /** Legs that were open when the time was over, of both sides. */
  readonly openAfter: number;
  readonly neighboursLost: number;
  /** The node's own figure: from the receipt to the last close. */
  readonly closedNs: bigint;
  readonly cut: number;
};

async function oneRound(
  mesh: MeshUnderTest,
  at: Place,
  count: number,
  beside: Beside,
): Promise<Round> {
  const clients = await openAll(at, mesh.keys.target, count);
  await beside.measure(beside.idle, () => pause(FLOOR_MS));
  const killed = await beside.measure(beside.loaded, async () => {
    const done = await mesh.operator.kill(SCOPE);
    await until(() => open(clients) === 0 && at.far.open <= NEIGHBOURS, CLOSE_TIMEOUT_MS);
    return done;
  });
  const round = {
    clientLastNs: lastClosedNs(clients),
    farLastNs: at.far.lastCloseNs,
    openAfter: open(clients) + Math.max(0, at.far.open - NEIGHBOURS),
    neighboursLost: beside.lost,
    closedNs: killed.nodes[0]?.ack?.closedNs ?? 0n,
    cut: killed.nodes[0]?.ack?.closedCount ?? 0,
  };
  for (const client of clients) client.destroy();
  return round;
}

/** In turn with the kills: a bare proxy with as many tunnels. */
async function floorRoundMs(at: Place, count: number): Promise<number> {
  await using bare = await startBareTunnels(Number(at.target.split(":")[1]));
  const clients = await openAll({ ...at, proxy: new URL(bare.origin) }, "none", count);
  const far = { isOver: () => at.far.open <= NEIGHBOURS, lastCloseNs: () => at.far.lastCloseNs };
  return await killFloorMs(bare, { clients, far });
}

/** Tunnels of another agent, on which something is said all the time. */
class Beside {
  readonly idle = new Times();
  readonly loaded = new Times();
  readonly #clients: readonly TunnelClient[];

  constructor(clients: readonly TunnelClient[]) {
    this.#clients = clients;
  }

  get lost(): number {
    return NEIGHBOURS - open(this.#clients);
  }

  async measure<T>(into: Times, work: () => Promise<T>): Promise<T> {
    let isOver = false;
    const talking = this.#clients.map(async (client) => {
      while (!isOver && !client.end.isClosed) {
        into.add(await client.roundTripNs());
        await pause(1);
      }
    });
    try {
      return await work();
    } finally {
      isOver = true;
      await Promise.allSettled(talking);
    }
  }
}

function open(clients: readonly TunnelClient[]): number {
  return clients.filter(({ end }) => !end.isClosed).length;
}

function openAll(at: Place, key: string, count: number): Promise<TunnelClient[]> {
  return openMany(count, () => TunnelClient.open({ ...at, key }));
}

async function describe(
  mesh: MeshUnderTest,
  rounds: readonly Round[],
  of: { readonly count: number; readonly beside: Beside; readonly floorMs: readonly number[] },
): Promise<BenchResult> {
  const { count, beside, floorMs } = of;
  const { changes } = await mesh.probed();
  const kills = changes.filter(({ op, scope }) => op === "kill" && scope === SCOPE);
  if (kills.length < rounds.length) throw new Error("the probe missed a kill");
  const clientLast = new Times();
  const farLast = new Times();
  const last = new Times();
  rounds.forEach(({ clientLastNs, farLastNs }, no) => {
    const t0Ns = kills[no]?.receivedNs ?? 0n;
    clientLast.add(clientLastNs - t0Ns);
    farLast.add(farLastNs - t0Ns);
    last.add((clientLastNs > farLastNs ? clientLastNs : farLastNs) - t0Ns);
  });
  const sum = (of: (round: Round) => number) => rounds.reduce((all, round) => all + of(round), 0);
  return {
    load: `${rounds.length} kills of ${count} open tunnels each, ${NEIGHBOURS} of a neighbour beside`,
    figures: [
      { name: "last_close_ms", value: last.maxMs, unit: "ms", range: last.range },
      { name: "floor_ms", value: median(floorMs), unit: "ms", range: rangeOf(floorMs) },
      { name: "client_last_ms", value: clientLast.maxMs, unit: "ms" },
      { name: "far_last_ms", value: farLast.maxMs, unit: "ms" },
      {
        name: "node_says_ms",
        value: Math.max(...rounds.map(({ closedNs }) => Number(closedNs) / 1e6)),
        unit: "ms",
      },
      { name: "tunnels_cut", value: sum(({ cut }) => cut), unit: "" },
      { name: "open_after", value: sum(({ openAfter }) => openAfter), unit: "" },
      { name: "neighbours_lost", value: sum(({ neighboursLost }) => neighboursLost), unit: "" },
      { name: "neighbour_idle_p99_ms", value: beside.idle.percentileMs(99), unit: "ms" },
      { name: "neighbour_kill_p99_ms", value: beside.loaded.percentileMs(99), unit: "ms" },
      { name: "neighbour_kill_max_ms", value: beside.loaded.maxMs, unit: "ms" },
    ],
    notes: [
      "last_close, client and far: the slowest of the kills. floor: in turn with them, median; a bare proxy with as",
      "many tunnels whose process is ended by the kernel.",
      "Both peers of all tunnels are one process and share the machine with the node: a neighbour's",
      "round trip waits for that process to read what thousands of others say at once.",
    ],
  };
}
