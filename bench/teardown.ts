import type { Upstream } from "./fixtures/upstream.ts";
import type { Bench, BenchResult } from "./harness/bench.ts";
import { Times } from "./harness/histogram.ts";
import { killFloorMs } from "./harness/kill-floor.ts";
import { type MeshUnderTest, startMesh, TARGET } from "./harness/mesh-under-test.ts";
import { openMany } from "./harness/open-many.ts";
import { median, rangeOf } from "./harness/paired.ts";
import { lastClosedNs } from "./harness/socket-end.ts";
import { startBareProxy } from "./harness/start-bare-proxy.ts";
import { StreamClient } from "./harness/stream-client.ts";
import { until } from "./harness/until.ts";

const STREAMS = { full: 1_000, short: 200 };
const ROUNDS = { full: 5, short: 2 };
const OPEN_TIMEOUT_MS = 60_000;
const CLOSE_TIMEOUT_MS = 10_000;
const SCOPE = `agent/${TARGET}`;

export const teardown: Bench = {
  name: "teardown",
  question: "How long after a kill arrived did the last open stream end, as both peers see it?",
  run: async ({ isFull }) => {
    const streams = isFull ? STREAMS.full : STREAMS.short;
    await using mesh = await startMesh({ isProbed: true });
    const rounds: Round[] = [];
    const floorMs: number[] = [];
    for (let no = 0; no < (isFull ? ROUNDS.full : ROUNDS.short); no += 1) {
      rounds.push(await oneRound(mesh, streams, no));
      await mesh.operator.revive(SCOPE);
      floorMs.push(await floorRoundMs(mesh.upstream, streams));
    }
    return await describe(mesh, { rounds, floorMs, streams });
  },
};

type Round = {
  readonly clientLastNs: bigint;
  readonly upstreamLastNs: bigint;
  readonly openAfter: number;
  /** Clients that saw a frame with the reason before the end of their stream. */
  readonly told: number;
  readonly cut: number;
  /** The node's own figure: from the receipt to the last close. */
  readonly closedNs: bigint;
};

async function oneRound(mesh: MeshUnderTest, count: number, no: number): Promise<Round> {
  mesh.upstream.clear();
  const url = new URL(mesh.altrace.ready.gateway);
  const clients = await openMany(count, (i) =>
    StreamClient.open(url, mesh.keys.target, `t${no}-${i}`),
  );
  await until(() => mesh.upstream.openStreams() === count, OPEN_TIMEOUT_MS);
  const killed = await mesh.operator.kill(SCOPE);
  const open = () => clients.filter((client) => !client.end.isClosed).length;
  await until(() => open() === 0 && mesh.upstream.openStreams() === 0, CLOSE_TIMEOUT_MS);
  const ack = killed.nodes[0]?.ack;
  const round = {
    clientLastNs: lastClosedNs(clients),
    upstreamLastNs: mesh.upstream.lastCloseNs(),
    openAfter: open() + mesh.upstream.openStreams(),
    told: clients.filter(({ text }) => text.includes("killed_agent")).length,
    cut: ack?.closedCount ?? 0,
    closedNs: ack?.closedNs ?? 0n,
  };
  for (const client of clients) client.destroy();
  return round;
}

/** In turn with the kills: a bare proxy with as many streams. */
async function floorRoundMs(upstream: Upstream, count: number): Promise<number> {
  upstream.clear();
  await using bare = await startBareProxy(upstream.url);
  const clients = await openMany(count, (i) =>
    StreamClient.open(new URL(bare.origin), "none", `floor-${i}`),
  );
  await until(() => upstream.openStreams() === count, OPEN_TIMEOUT_MS);
  const far = {
    isOver: () => upstream.openStreams() === 0,
    lastCloseNs: () => upstream.lastCloseNs(),
  };
  const floorMs = await killFloorMs(bare, { clients, far });
  for (const client of clients) client.destroy();
  return floorMs;
}

async function describe(
  mesh: MeshUnderTest,
  of: {
    readonly rounds: readonly Round[];
    readonly floorMs: readonly number[];
    readonly streams: number;
  },
): Promise<BenchResult> {
  const { rounds, floorMs, streams } = of;
  const { changes } = await mesh.probed();
  const kills = changes.filter(({ op, scope }) => op === "kill" && scope === SCOPE);
  if (kills.length < rounds.length) throw new Error("the probe missed a kill");
  // A record that comes twice is told twice by nobody: one change a round.
  const received = kills.slice(0, rounds.length).map(({ receivedNs }) => receivedNs);
  const last = new Times();
  const clientLast = new Times();
  const upstreamLast = new Times();
  rounds.forEach(({ clientLastNs, upstreamLastNs }, no) => {
    const t0Ns = received[no] as bigint;
    clientLast.add(clientLastNs - t0Ns);
    upstreamLast.add(upstreamLastNs - t0Ns);
    last.add((clientLastNs > upstreamLastNs ? clientLastNs : upstreamLastNs) - t0Ns);
  });
  const sum = (of: (round: Round) => number) => rounds.reduce((all, round) => all + of(round), 0);
  return {
    load: `${rounds.length} kills of ${streams} open streams each`,
    figures: [
      { name: "last_close_ms", value: last.maxMs, unit: "ms", range: last.range },
      { name: "last_close_p50_ms", value: last.percentileMs(50), unit: "ms" },
      { name: "floor_ms", value: median(floorMs), unit: "ms", range: rangeOf(floorMs) },
      { name: "client_last_ms", value: clientLast.maxMs, unit: "ms" },
      { name: "upstream_last_ms", value: upstreamLast.maxMs, unit: "ms" },
      {
        name: "node_says_ms",
        value: Math.max(...rounds.map(({ closedNs }) => Number(closedNs) / 1e6)),
        unit: "ms",
      },
      { name: "streams_cut", value: sum(({ cut }) => cut), unit: "" },
      { name: "clients_told_why", value: sum(({ told }) => told), unit: "" },
      { name: "open_after", value: sum(({ openAfter }) => openAfter), unit: "" },
    ],
    notes: [
      "Client and upstream are one process and share the machine with the node. last_close, client and upstream: the " +
        "slowest of the kills. floor: in turn with them, median; a bare proxy with as many streams whose process is ended by the kernel.",
    ],
  };
}
