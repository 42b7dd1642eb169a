import { allowedLoad } from "../harness/allowed-load.ts";
import { cpuMicros } from "../harness/cpu-time.ts";
import { type MeshUnderTest, startMesh } from "../harness/mesh-under-test.ts";
import { median, PAIRS_MIN, type Pair } from "../harness/paired.ts";
import { treeResidentMib } from "../harness/process-tree.ts";
import { tellProgress } from "../harness/progress.ts";
import { type BareProxy, startBareProxy } from "../harness/start-bare-proxy.ts";
import { untilServed } from "../harness/until-served.ts";
import { type Axis, RESERVE_WAIT_MS } from "./axis.ts";

/** Streams that are open say something so rarely that it is no load of its own. */
const HELD_EVERY_MS = 20_000;
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

/** One mesh for a whole axis: what it has compiled and cached, it keeps. */
export async function measureAxis(
  axis: Axis,
  of: { readonly points: readonly number[]; readonly sliceMs: number },
): Promise<readonly Point[]> {
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
      points.push(await measurePoint({ at, key, mesh, bare, sliceMs: of.sliceMs }));
    }
  } finally {
    axis.close?.();
  }
  return points;
}

async function measurePoint(of: {
  readonly at: number;
  readonly key: string;
  readonly mesh: MeshUnderTest;
  readonly bare: BareProxy;
  readonly sliceMs: number;
}): Promise<Point> {
  const { at, key, mesh, bare, sliceMs } = of;
  const { altrace } = mesh;
  const cost = async (origin: string, pid: number, ms: number): Promise<number> => {
    const before = cpuMicros(pid);
    const requests = await allowedLoad({ origin, key, wish: "answer", ms });
    return (cpuMicros(pid) - before) / requests;
  };
  const node = (ms: number) => cost(altrace.ready.gateway, altrace.pid, ms);
  const proxy = (ms: number) => cost(bare.origin, bare.pid, ms);
  await untilServed(altrace.ready.gateway, key);
  await node(WARM_UP_FACTOR * sliceMs);
  await proxy(sliceMs);
  const pairs: Pair[] = [];
  while (pairs.length < PAIRS_MIN) {
    const subject = await node(sliceMs);
    pairs.push({ subject, baseline: await proxy(sliceMs) });
  }
  return {
    at,
    cpuMicros: median(pairs.map(({ subject }) => subject)),
    bareMicros: median(pairs.map(({ baseline }) => baseline)),
    residentMib: treeResidentMib(altrace.pid),
    pairs,
  };
}
