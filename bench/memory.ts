import { execFileSync } from "node:child_process";
import { setPriority } from "node:os";
import { join } from "node:path";
import { startMesh as startFleet } from "../test/support/start-mesh.ts";
import { benchPolicy, crowdAgent } from "./fixtures/policy.ts";
import { startUpstream, wishBody } from "./fixtures/upstream.ts";
import { atPace } from "./harness/at-pace.ts";
import type { Bench, Figure } from "./harness/bench.ts";
import { freePort } from "./harness/free-ports.ts";
import { startMesh } from "./harness/mesh-under-test.ts";
import { type Operator, pause } from "./harness/operator.ts";
import { operatorOf } from "./harness/operator-of.ts";
import { tellProgress } from "./harness/progress.ts";
import { RawPool } from "./harness/raw-pool.ts";
import { type ResidentMemory, residentMemory } from "./harness/resident-memory.ts";
import { type ThreadHeap, threadHeaps } from "./harness/thread-heaps.ts";

const ROOT = join(import.meta.dirname, "..");
/** What `deploy/Dockerfile` and the units set. */
const AS_DEPLOYED = { MALLOC_ARENA_MAX: "2" };
const KNOWN = 10_000;
const ACTIVE = 1_000;
/** Each active agent asks every 10 s; a node gives up an actor that nobody used for 30 s. */
const PER_SECOND = 100;
const DURATION_MS = { full: 60_000, short: 30_000 };
/** The last part of the time, in which everybody has asked and heaps have grown. */
const JUDGED_SHARE = 0.5;
const SAMPLE_EVERY_MS = 500;
const CONNECTIONS = 32;
const GENERATOR_NICENESS = 10;
/** Requests that are not allowed, at most: what is measured is what serves. */
const REFUSED_SHARE_MAX = 0.01;

export const memory: Bench = {
  name: "memory",
  question: "How much memory does a node take that knows 10,000 agents, of which 1,000 are active?",
  run: async ({ isFull, durationMs = isFull ? DURATION_MS.full : DURATION_MS.short }) => {
    precompile();
    const node = await ofNode(durationMs);
    const up = await ofUp(durationMs);
    return {
      load:
        `${KNOWN} agents with keys, ${ACTIVE} of which ask in turn, ${PER_SECOND} requests a second for ` +
        `${durationMs / 1_000} s (${node.answered} and ${up.answered} answered, ${node.refused} and ${up.refused} refused)`,
      figures: [...figuresOf("", node), ...figuresOf("up_", up)],
      table: [
        ["process", "of its anonymous memory", "MiB", "of that used"],
        ...rowsOf("altrace node", node),
        ...rowsOf("altrace up", up),
      ],
      notes: [
        `rss: the highest of what was resident in the last ${JUDGED_SHARE * 100} % of the time; its parts are of the same moment. ` +
          "anonymous: heaps, buffers and stacks, which no other process shares and the kernel cannot drop. program: pages of Node " +
          "and its libraries. store: pages of LMDB that the kernel has read. Figures without a prefix are of `altrace node`, which a fleet " +
          "runs and which speaks with a coordinator over NATS; those with up_ are of `altrace up`, which is both in one process and the demo's provider.",
        "The table was asked of the process's inspector afterwards: pages of each thread's heap and its objects, garbage included; and the rest: " +
          "buffers, native memory, compiled code, stacks.",
      ],
    };
  },
};

/** As in an image, and on every start but the first one after a change: no thread strips types by itself. */
function precompile(): void {
  const cache = { NODE_COMPILE_CACHE: join(ROOT, ".cache", "compiled") };
  const script = join(ROOT, "scripts", "precompile.ts");
  execFileSync(process.execPath, [script], { env: { ...process.env, ...cache }, stdio: "ignore" });
}

type Measured = {
  /** At the moment at which most was resident. */
  readonly most: ResidentMemory;
  /** Anonymous memory when heaps were asked for, MiB. */
  readonly anonymousMib: number;
  readonly heaps: readonly ThreadHeap[];
  readonly answered: number;
  readonly refused: number;
};

/** One process of the fleet, with its coordinator and a nats-server beside it. */
async function ofNode(durationMs: number): Promise<Measured> {
  setPriority(GENERATOR_NICENESS);
  await using upstream = await startUpstream();
  const inspectPort = await freePort();
  tellProgress("memory: a node, its coordinator and a nats-server");
  await using mesh = await startFleet({
    nodes: 1,
    policy: benchPolicy({ upstream: upstream.url, crowd: KNOWN }),
    nodeEnv: {
      OPENAI_API_KEY: "sk-bench-0123456789abcdef",
      ...inspectAt(inspectPort),
      ...AS_DEPLOYED,
    },
  });
  const [node] = mesh.nodes;
  if (node?.process === undefined) throw new Error("no node was started");
  using operator = operatorOf(mesh);
  const { pid } = node.process;
  return await measure({ operator, pid, inspectPort, origin: node.gateway, durationMs });
}

async function ofUp(durationMs: number): Promise<Measured> {
  const inspectPort = await freePort();
  tellProgress("memory: `altrace up`");
  await using mesh = await startMesh({ crowd: KNOWN, env: inspectAt(inspectPort) });
  const { operator, altrace } = mesh;
  const { pid, ready } = altrace;
  return await measure({ operator, pid, inspectPort, origin: ready.gateway, durationMs });
}

/** Where the process opens its inspector when it is asked to. */
function inspectAt(port: number): Readonly<Record<string, string>> {
  return { NODE_OPTIONS: `--inspect-port=127.0.0.1:${port}` };
}

async function measure(of: {
  readonly operator: Operator;
  readonly pid: number;
  readonly inspectPort: number;
  readonly origin: string;
  readonly durationMs: number;
}): Promise<Measured> {
  const { operator, pid, inspectPort, origin, durationMs } = of;
  tellProgress(`memory: a key for each of ${KNOWN} agents`);
  const agents = Array.from({ length: KNOWN }, (_, no) => `crowd/${crowdAgent(no)}`);
  const keys = await operator.issueKeys(agents);
  tellProgress(`memory: ${ACTIVE} of them ask`);
  const samples: ResidentMemory[] = [];
  const stop = AbortSignal.timeout(durationMs);
  const [answers] = await Promise.all([
    askInTurn(origin, keys.slice(0, ACTIVE), durationMs),
    sampleUntil(pid, stop, samples),
  ]);
  const judged = samples.slice(Math.floor(samples.length * (1 - JUDGED_SHARE)));
  const most = judged.reduce((max, one) => (one.allMib > max.allMib ? one : max));
  const { anonymousMib } = residentMemory(pid);
  const heaps = await threadHeaps({ pid, inspectPort });
  return { most, anonymousMib, heaps, ...answers };
}

async function askInTurn(origin: string, keys: readonly string[], durationMs: number) {
  const pool = new RawPool(origin, { connections: CONNECTIONS });
  const body = wishBody("answer", "memory");
  const count = Math.floor((durationMs * PER_SECOND) / 1_000);
  let answered = 0;
  const refusals: Record<string, number> = {};
  await atPace({ perSecond: PER_SECOND, count }, async (no) => {
    const { status, reason } = await pool.ask({ key: keys[no % keys.length] as string, body });
    if (status === 200) answered += 1;
    else refusals[`${status} ${reason}`] = (refusals[`${status} ${reason}`] ?? 0) + 1;
  });
  pool.close();
  const refused = count - answered;
  if (refused > count * REFUSED_SHARE_MAX) {
    throw new Error(`${refused} of ${count} were not answered: ${JSON.stringify(refusals)}`);
  }
  return { answered, refused };
}

async function sampleUntil(
  pid: number,
  stop: AbortSignal,
  samples: ResidentMemory[],
): Promise<void> {
  while (!stop.aborted) {
    samples.push(residentMemory(pid));
    await pause(SAMPLE_EVERY_MS);
  }
}

function figuresOf(prefix: string, { most }: Measured): Figure[] {
  const mib = (name: string, value: number) => ({ name: `${prefix}${name}`, value, unit: "MiB" });
  return [
    mib("rss_mib", most.allMib),
    mib("anonymous_mib", most.anonymousMib),
    mib("program_mib", most.programMib),
    mib("store_mib", most.storeMib),
  ];
}

function rowsOf(name: string, { heaps, anonymousMib }: Measured): string[][] {
  const mib = (value: number) => value.toFixed(1);
  const inHeaps = heaps.reduce((all, { residentMib }) => all + residentMib, 0);
  return [
    ...heaps.map((one) => [name, `heap of ${one.thread}`, mib(one.residentMib), mib(one.usedMib)]),
    [name, "outside of heaps", mib(anonymousMib - inHeaps), ""],
  ];
}
