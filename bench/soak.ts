import { wishBody } from "./fixtures/upstream.ts";
import { allowedLoad } from "./harness/allowed-load.ts";
import type { Bench, Figure } from "./harness/bench.ts";
import { closedLoop } from "./harness/closed-loop.ts";
import { type MeshUnderTest, startMesh, TARGET } from "./harness/mesh-under-test.ts";
import { pause } from "./harness/operator.ts";
import { median } from "./harness/paired.ts";
import { tellProgress } from "./harness/progress.ts";
import { theilSen } from "./harness/theil-sen.ts";
import { untilServed } from "./harness/until-served.ts";
import { openFds, type Sample, takeSample } from "./soak/sample.ts";

const DURATION_MS = { full: 600_000, short: 40_000 };
/** Before it, caches fill, code is compiled and the heap finds its size. */
const WARM_UP_SHARE = 0.4;
const SAMPLES = 60;
const TOLD_EVERY = 10;
const KILL_EVERY_MS = 2_000;
const PROMPT_BYTES = 100_000;
/** Longer than any connection that nobody uses is kept by either side. */
const QUIET_MS = 90_000;
const SETTLED_MS = 25_000;
const USUAL_MS = 5_000;
const LOOK_EVERY_MS = 50;
const FIRST_MS = 1_000;
const UNSERVED = "not served";
/** A heap has found its size after minutes, not before. */
const RSS_JUDGED_FROM_MS = 300_000;

export const soak: Bench = {
  name: "soak",
  question: "Does anything grow with time: memory, descriptors, delay of the loop, lag of the log?",
  run: async ({ isFull, durationMs = isFull ? DURATION_MS.full : DURATION_MS.short }) => {
    await using mesh = await startMesh({});
    // What the first request opens for good is nothing that grows.
    const { altrace, keys } = mesh;
    const key = keys.neighbour;
    await untilServed(altrace.ready.gateway, key);
    await allowedLoad({ origin: altrace.ready.gateway, key, wish: "stream", ms: FIRST_MS });
    const fdsBefore = await settledFds(altrace.pid);
    const counts = new Map<string, number>();
    const stop = AbortSignal.timeout(durationMs);
    const samples: Sample[] = [];
    await Promise.all([
      ...work(mesh, stop, counts),
      sampleUntil(mesh, { stop, everyMs: durationMs / SAMPLES, samples }),
    ]);
    const fdsAfter = await quietFds(altrace.pid, fdsBefore);
    const settled = samples.filter(({ atS }) => atS * 1_000 >= WARM_UP_SHARE * durationMs);
    const skipped = new Map<string, string>();
    if (durationMs < RSS_JUDGED_FROM_MS) {
      skipped.set("rss_rises_percent", "a heap has found its size after 5 minutes, not before");
    }
    return {
      skipped,
      load: `${(durationMs / 60_000).toFixed(1)} min: ${[...counts].map(([what, n]) => `${n} ${what}`).join(", ")}`,
      figures: [
        ...trendOf("rss", "MiB", settled, ({ residentMib }) => residentMib).filter(
          ({ name }) => !skipped.has(name),
        ),
        ...trendOf("fds", "", settled, ({ fds }) => fds),
        ...trendOf("loop_delay_p99", "ms", settled, ({ loopDelayMs }) => loopDelayMs),
        ...trendOf("audit_lag", "ms", settled, ({ auditLagMs }) => auditLagMs),
        { name: "unserved_percent", value: unservedPercent(counts), unit: "%" },
        { name: "fds_left", value: fdsAfter - fdsBefore, unit: "" },
      ],
      notes: [
        `Trends: Theil and Sen's slope of the last ${settled.length} of ${samples.length} samples. _rises_percent: what it ` +
          "rises by over that time with a confidence of 95 %, of the median; 0 when it may as well fall. " +
          "fds_left: descriptors open after all was quiet, less those before.",
      ],
    };
  },
};

function unservedPercent(counts: ReadonlyMap<string, number>): number {
  const all = [...counts.values()].reduce((sum, one) => sum + one, 0);
  return ((counts.get(UNSERVED) ?? 0) * 100) / all;
}

function trendOf(
  name: string,
  unit: string,
  samples: readonly Sample[],
  of: (sample: Sample) => number,
): Figure[] {
  const values = samples.map((sample) => ({ atS: sample.atS, value: of(sample) }));
  const { slope, low } = theilSen(values);
  const middle = median(values.map(({ value }) => value));
  const spanS = (values.at(-1)?.atS ?? 0) - (values[0]?.atS ?? 0);
  const rises = middle === 0 ? 0 : (Math.max(0, low) * spanS * 100) / middle;
  return [
    { name: `${name}_rises_percent`, value: rises, unit: "%" },
    { name: `${name}_median`, value: middle, unit },
    { name: `${name}_slope_per_hour`, value: slope * 3_600, unit },
  ];
}

/** Everything at once, none of it at full speed: what leaks does so at any. */
function work(mesh: MeshUnderTest, stop: AbortSignal, counts: Map<string, number>) {
  const { altrace, keys } = mesh;
  const origin = altrace.ready.gateway;
  const count = (what: string) => counts.set(what, (counts.get(what) ?? 0) + 1);
  const ask = (
    key: string,
    of: { readonly what: string; readonly body: string; readonly pauseMs: number },
  ) =>
    closedLoop(
      {
        origin,
        key,
        connections: 2,
        pauseMs: of.pauseMs,
        next: () => ({ id: of.what, body: of.body }),
        onAnswer: ({ status, reason }) => {
          const isKill = key === keys.target && status === 403;
          // A host that is full makes money come late, and doubt is a refusal: told, and judged.
          const isLate = status === 503 || status === 429;
          if (status !== 200 && !isKill && !isLate)
            throw new Error(`${of.what}: ${status} ${reason}`);
          if (isKill) count("refused by a kill");
          else count(isLate ? UNSERVED : of.what);
        },
        // A stream or request that is cut by a kill.
        ...(key === keys.target && { onBroken: () => count("cut by a kill") }),
      },
      stop,
    );
  const prompt = `prompt ${"lorem ipsum dolor ".repeat(PROMPT_BYTES / 18)}`;
  return [
    ask(keys.neighbour, { what: "JSON", body: wishBody("answer", "soak"), pauseMs: 10 }),
    ask(keys.neighbour, { what: "streams", body: wishBody("stream", "soak"), pauseMs: 100 }),
    ask(keys.neighbour, { what: "large prompts", body: wishBody("answer", prompt), pauseMs: 100 }),
    ask(keys.target, { what: "of the killed agent", body: wishBody("stream", "t"), pauseMs: 20 }),
    killOverAndOver(mesh, stop, count),
  ];
}

async function killOverAndOver(
  { operator }: MeshUnderTest,
  stop: AbortSignal,
  count: (what: string) => void,
): Promise<void> {
  const scope = `agent/${TARGET}`;
  while (!stop.aborted) {
    await operator.kill(scope);
    count("kills");
    await pause(KILL_EVERY_MS / 2);
    await operator.revive(scope);
    await pause(KILL_EVERY_MS / 2);
  }
}

async function sampleUntil(
  mesh: MeshUnderTest,
  of: { readonly stop: AbortSignal; readonly everyMs: number; readonly samples: Sample[] },
): Promise<void> {
  const startedMs = performance.now();
  while (!of.stop.aborted) {
    const sample = await takeSample(mesh, (performance.now() - startedMs) / 1_000);
    of.samples.push(sample);
    if (of.samples.length % TOLD_EVERY === 0) {
      const { atS, residentMib, fds } = sample;
      tellProgress(`soak: ${atS.toFixed(0)} s, ${residentMib.toFixed(0)} MiB, ${fds} descriptors`);
    }
    await pause(of.everyMs);
  }
}

/** Descriptors that are open when their number has not changed for as long as a connection is kept. */
async function settledFds(pid: number): Promise<number> {
  tellProgress("soak: until nothing is open that goes by itself");
  let fds = await usualFds(pid);
  for (let sameMs = 0; sameMs < SETTLED_MS; sameMs += USUAL_MS) {
    const now = await usualFds(pid);
    if (now !== fds) sameMs = -USUAL_MS;
    fds = now;
  }
  return fds;
}

/** How many are open most of the time: a file that is written once a second is open for a moment. */
async function usualFds(pid: number): Promise<number> {
  const seen: number[] = [];
  for (let ms = 0; ms < USUAL_MS; ms += LOOK_EVERY_MS) {
    seen.push(openFds(pid));
    await pause(LOOK_EVERY_MS);
  }
  return seen.toSorted((one, other) => one - other)[seen.length >> 1] as number;
}

/** Waits until no more are open than there were, or for as long as unused connections live; how many are. */
async function quietFds(pid: number, before: number): Promise<number> {
  tellProgress("soak: until it is quiet");
  for (let ms = 0; ; ms += USUAL_MS) {
    const fds = await usualFds(pid);
    if (fds <= before || ms >= QUIET_MS) return fds;
  }
}
