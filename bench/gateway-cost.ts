import type { Wish } from "./fixtures/upstream.ts";
import { CONNECTIONS } from "./harness/allowed-load.ts";
import type { Bench } from "./harness/bench.ts";
import { costFigures } from "./harness/cost-pairs.ts";
import { cpuMicros } from "./harness/cpu-time.ts";
import { startMesh } from "./harness/mesh-under-test.ts";
import { pause } from "./harness/operator.ts";
import { interleave, PAIRS_MIN } from "./harness/paired.ts";
import { requestCost } from "./harness/request-cost.ts";
import { startBareProxy } from "./harness/start-bare-proxy.ts";
import { askedAtLeast } from "./harness/warm-up.ts";

const SLICE_MS = { full: 6_000, short: 1_500 };
/** Requests until the node is compiled, mostly; a busy machine takes longer over them. */
const WARM_UP = { full: 40_000, short: 4_000 };
const WARM_UP_MS_MAX = 60_000;
/** Long enough for the kernel's ticks to tell what a node does that nobody asks anything of. */
const IDLE_MS = { full: 6_000, short: 2_000 };

export const gatewayJson = costBench({
  name: "gateway-json",
  question:
    "What does a small JSON request cost a node, compared with a proxy that decides nothing?",
  wish: "answer",
});

export const gatewaySse = costBench({
  name: "gateway-sse",
  question: "What does a stream of 100 chunks cost, compared with a proxy that decides nothing?",
  wish: "stream",
});

function costBench(of: {
  readonly name: string;
  readonly question: string;
  readonly wish: Wish;
}): Bench {
  const { name, question, wish } = of;
  return {
    name,
    question,
    run: async ({ isFull, durationMs }, budget) => {
      const sliceMs = durationMs ?? (isFull ? SLICE_MS.full : SLICE_MS.short);
      await using mesh = await startMesh({});
      await using bare = await startBareProxy(mesh.upstream.url);
      const key = mesh.keys.neighbour;
      const through = (origin: string, pid: number) => (ms: number) =>
        requestCost({ origin, pid, key, wish, ms });
      const altrace = through(mesh.altrace.ready.gateway, mesh.altrace.pid);
      const baseline = through(bare.origin, bare.pid);
      const warmUp = { count: WARM_UP[isFull ? "full" : "short"], msMax: WARM_UP_MS_MAX };
      const warmed = await askedAtLeast(warmUp, async (ms) => (await altrace(ms)).requests);
      await askedAtLeast(warmUp, async (ms) => (await baseline(ms)).requests);
      const idle = await idleMicrosPerSecond(mesh.altrace.pid, IDLE_MS[isFull ? "full" : "short"]);
      let requests = 0;
      const counted = (measure: typeof altrace) => async () => {
        const cost = await measure(sliceMs);
        requests += cost.requests;
        return cost.cpuMicrosPerRequest;
      };
      const pairs = await interleave(PAIRS_MIN, {
        subject: counted(altrace),
        baseline: counted(baseline),
      });
      return {
        load: `${requests} requests on ${CONNECTIONS} connections, in ${PAIRS_MIN} pairs, after ${warmed}`,
        figures: [
          ...costFigures(pairs, { subject: "altrace", baseline: "bare" }, budget.cpu_ratio?.must),
          { name: "idle_cpu_us_per_s", value: idle, unit: "us" },
        ],
        notes: [
          "CPU of the whole process: all threads of node and coordinator, syncing included, and what it does idle.",
        ],
      };
    },
  };
}

/** What the process uses in a second without a request; it is in the figure of a request too. */
async function idleMicrosPerSecond(pid: number, ms: number): Promise<number> {
  const before = cpuMicros(pid);
  await pause(ms);
  return ((cpuMicros(pid) - before) * 1_000) / ms;
}
