import { createPiscinaCompute } from "../adapters/piscina-compute.ts";
import { systemClock } from "../adapters/system-clock.ts";
import { compileContentNow } from "../node/dataplane/content-scanners.ts";
import { OPENAI_CHAT } from "../node/dataplane/dialects/openai-chat.ts";
import { INLINE_BYTES_MAX, INSPECT_POOL } from "../node/dataplane/inspect.ts";
import { type BodyInspection, inspectBody } from "../node/dataplane/inspect-body.ts";
import type { InspectTask } from "../node/dataplane/inspect-worker.ts";
import { DETECTORS } from "../node/dataplane/scan/detectors.ts";
import type { ContentRule } from "../policy/compiled-policy.ts";
import type { Compute } from "../ports/compute.ts";
import { breakEven, type SizeCost } from "./break-even.ts";
import type { Bench } from "./harness/bench.ts";
import { median } from "./harness/paired.ts";

const KB = 1_024;
const SIZES_KB = [1, 2, 4, 8, 16, 32, 64, 128];
const ROUNDS = { full: 7, short: 3 };
/** Of one round and size: kernels tell a thread's time in steps of up to 4 ms. */
const ROUND_MS = { full: 150, short: 60 };
const DEADLINE_MS = 10_000;
const DEPTH_MAX = 64;
const WORDS = "The quick brown fox jumps over the lazy dog, and nobody minds it at all. ";

const RULES: readonly ContentRule[] = DETECTORS.map(({ id }) => ({
  id,
  pattern: undefined,
  detector: id,
  direction: "both",
  action: "refuse",
  severity: "high",
  label: undefined,
}));
const RULES_TEXT = JSON.stringify(RULES);
const [ROUTE] = OPENAI_CHAT.routes;

export const inspectPool: Bench = {
  name: "inspect-pool",
  question: "From what size on is a body better handed to the inspect pool than read in the loop?",
  run: async ({ isFull }) => {
    const pool = createPiscinaCompute<InspectTask, BodyInspection>({
      ...INSPECT_POOL,
      clock: systemClock,
      threads: 1,
    });
    const size = isFull ? "full" : "short";
    // A worker has its modules to load and its rules to compile, and both sides are compiled in stages.
    await measure(bodyOf(INLINE_BYTES_MAX), pool, size);
    const costs: SizeCost[] = [];
    const waits: number[] = [];
    for (const kb of SIZES_KB) {
      const measured = await measure(bodyOf(kb * KB), pool, size);
      costs.push({ bytes: kb * KB, ...measured });
      waits.push(measured.waitedMicros);
    }
    await pool.close();
    const atLimit = costs.find(({ bytes }) => bytes === INLINE_BYTES_MAX);
    if (atLimit === undefined) throw new Error("the limit is not among the sizes");
    return {
      load: `chat requests of clean text, ${DETECTORS.length} rules, one worker, one at a time`,
      figures: [
        { name: "break_even_kb", value: breakEven(costs) / KB, unit: "KiB" },
        { name: "inline_us_at_limit", value: atLimit.inlineMicros, unit: "us" },
        { name: "handed_us_at_limit", value: atLimit.handedMicros, unit: "us" },
      ],
      table: [
        ["KiB", "in the loop, us", "handed over, us of the loop", "until it is back, us"],
        ...costs.map(({ bytes, inlineMicros, handedMicros }, i) =>
          [bytes / KB, inlineMicros, handedMicros, waits[i] as number].map((value) =>
            value.toFixed(value < 100 ? 1 : 0),
          ),
        ),
      ],
      notes: [
        `The limit is ${INLINE_BYTES_MAX / KB} KiB. Handed over: processor time of the thread that asks, and not of the one that reads.`,
        "The body has to be read by somebody all the same: below the break-even a loop saves nothing, above it its other agents wait less.",
      ],
    };
  },
};

type Measured = Omit<SizeCost, "bytes"> & { readonly waitedMicros: number };

async function measure(
  body: Buffer,
  pool: Compute<InspectTask, BodyInspection>,
  size: "full" | "short",
): Promise<Measured> {
  const { request: set } = compileContentNow(RULES);
  if (ROUTE === undefined) throw new Error("a dialect has a route");
  const options = { dialect: OPENAI_CHAT, route: ROUTE, set, depthMax: DEPTH_MAX };
  const inLoop = () => {
    read(inspectBody(body, { ...options, pastDeadline: () => false }));
  };
  const handed = async () => {
    read(await pool.run(taskOf(body, ROUTE.id), DEADLINE_MS));
  };
  const inline: number[] = [];
  const away: number[] = [];
  const waited: number[] = [];
  // The first of each is to warm up.
  for (let round = 0; round <= ROUNDS[size]; round++) {
    const one = await cost(inLoop, ROUND_MS[size]);
    const other = await cost(handed, ROUND_MS[size]);
    if (round === 0) continue;
    inline.push(one.cpuMicros);
    away.push(other.cpuMicros);
    waited.push(other.wallMicros);
  }
  return {
    inlineMicros: median(inline),
    handedMicros: median(away),
    waitedMicros: median(waited),
  };
}

/** Microseconds of this thread's processor, and of the clock, for each call. */
async function cost(work: () => void | Promise<void>, ms: number) {
  const before = process.threadCpuUsage();
  const fromNs = process.hrtime.bigint();
  let calls = 0;
  while (Number(process.hrtime.bigint() - fromNs) < ms * 1e6) {
    // Waiting for what need not be waited for is a cost of its own.
    const wait = work();
    if (wait !== undefined) await wait;
    calls += 1;
  }
  const { user, system } = process.threadCpuUsage(before);
  const wallMicros = Number(process.hrtime.bigint() - fromNs) / 1e3 / calls;
  return { cpuMicros: (user + system) / calls, wallMicros };
}

/** As the inspector makes it: the worker is given memory of its own. */
function taskOf(body: Buffer, routeId: string): InspectTask {
  return {
    bytes: new Uint8Array(body),
    dialect: "openai",
    routeId,
    rulesKey: "bench",
    rules: RULES_TEXT,
    depthMax: DEPTH_MAX,
    deadlineNs: systemClock.monoNs() + BigInt(DEADLINE_MS) * 1_000_000n,
  };
}

function bodyOf(bytes: number): Buffer {
  const content = WORDS.repeat(Math.ceil(bytes / WORDS.length)).slice(0, bytes);
  return Buffer.from(JSON.stringify({ model: "m", messages: [{ role: "user", content }] }));
}

function read({ request, scan }: BodyInspection): void {
  if ("missing" in request || "missing" in scan) throw new Error("a body was not read");
}
