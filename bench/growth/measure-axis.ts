import { startMesh } from "../harness/mesh-under-test.ts";
import { interleave, median, PAIRS_MIN, type Pair } from "../harness/paired.ts";
import { treeResidentMib } from "../harness/process-tree.ts";
import { tellProgress } from "../harness/progress.ts";
import { type RequestCost, requestCost } from "../harness/request-cost.ts";
import { startBareProxy } from "../harness/start-bare-proxy.ts";
import { untilServed } from "../harness/until-served.ts";
import { askedAtLeast } from "../harness/warm-up.ts";
import { type Axis, RESERVE_WAIT_MS } from "./axis.ts";

/** Streams that are open say something so rarely that it is no load of its own. */
const HELD_EVERY_MS = 20_000;
/** After each step: what is new there is compiled and cached. */
const WARM_UP_FACTOR = 3;

export type Point = {
  readonly at: number;
  /** Processor time per small JSON request, microseconds: the node's, and the bare proxy's beside it. */
  readonly cpuMicros: number;
  readonly bareMicros: number;
  readonly residentMib: number;
  /** Node and bare proxy, in turn. */
  readonly pairs: readonly Pair[];
};

export type AxisMeasured = {
  readonly points: readonly number[];
  readonly sliceMs: number;
  /** Requests through node and bare proxy before the first point, which else were the dearest. */
  readonly warmUp: { readonly count: number; readonly msMax: number };
};

/** One mesh for a whole axis: what it has compiled and cached, it keeps. */
export async function measureAxis(axis: Axis, of: AxisMeasured): Promise<readonly Point[]> {
  await using mesh = await startMesh({
    heldEveryMs: HELD_EVERY_MS,
    reserveWaitMs: RESERVE_WAIT_MS,
    env: { ALTRACE_REGION: "DE" },
  });
  await using bare = await startBareProxy(mesh.upstream.url);
  const points: Point[] = [];
  try {
    for (const at of of.points) {
      tellProgress(`${axis.name}: ${at}`);
      const key = await axis.raise(mesh, at);
      await untilServed(mesh.altrace.ready.gateway, key);
      const { pid, ready } = mesh.altrace;
      const node = asks(key, { origin: ready.gateway, pid });
      const sides = { node, proxy: asks(key, { origin: bare.origin, pid: bare.pid }) };
      if (points.length === 0) {
        for (const ask of [sides.node, sides.proxy]) {
          await askedAtLeast(of.warmUp, async (ms) => (await ask(ms)).requests);
        }
      }
      points.push({
        at,
        ...(await measurePoint(sides, of.sliceMs)),
        residentMib: treeResidentMib(mesh.altrace.pid),
      });
    }
  } finally {
    axis.close?.();
  }
  return points;
}

type Ask = (ms: number) => Promise<RequestCost>;

function asks(key: string, server: { readonly origin: string; readonly pid: number }): Ask {
  return (ms) => requestCost({ ...server, key, wish: "answer", ms });
}

async function measurePoint(
  { node, proxy }: { readonly node: Ask; readonly proxy: Ask },
  sliceMs: number,
): Promise<Omit<Point, "at" | "residentMib">> {
  await node(WARM_UP_FACTOR * sliceMs);
  await proxy(sliceMs);
  const cost = (ask: Ask) => async () => (await ask(sliceMs)).cpuMicrosPerRequest;
  const pairs = await interleave(PAIRS_MIN, { subject: cost(node), baseline: cost(proxy) });
  return {
    cpuMicros: median(pairs.map(({ subject }) => subject)),
    bareMicros: median(pairs.map(({ baseline }) => baseline)),
    pairs,
  };
}
