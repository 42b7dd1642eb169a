import { PACED_WORDS } from "./fixtures/paced-words.ts";
import type { Upstream } from "./fixtures/upstream.ts";
import { allowedLoad } from "./harness/allowed-load.ts";
import type { Bench, Figure } from "./harness/bench.ts";
import { Times } from "./harness/histogram.ts";
import { startMesh } from "./harness/mesh-under-test.ts";
import { interleave, judge, PAIRS_MIN } from "./harness/paired.ts";
import { startBareProxy } from "./harness/start-bare-proxy.ts";
import { untilServed } from "./harness/until-served.ts";
import { askedAtLeast } from "./harness/warm-up.ts";
import { readWordTimes } from "./harness/word-times.ts";

/** Streams of one slice, one after another on each of `AT_ONCE`. */
const STREAMS_EACH = { full: 8, short: 2 };
const AT_ONCE = 4;
const WARM_UP = { full: { count: 4_000, msMax: 60_000 }, short: { count: 400, msMax: 10_000 } };
const US_PER_MS = 1_000;

export const chunkDelay: Bench = {
  name: "chunk-delay",
  question:
    "How much later is a chunk of clean text there, compared with a proxy that scans nothing?",
  run: async ({ isFull }, budget) => {
    const size = isFull ? "full" : "short";
    await using mesh = await startMesh({});
    await using bare = await startBareProxy(mesh.upstream.url);
    const key = mesh.keys.neighbour;
    await untilServed(mesh.altrace.ready.gateway, key);
    const sides = { altrace: mesh.altrace.ready.gateway, bare: bare.origin };
    for (const origin of Object.values(sides)) {
      await askedAtLeast(WARM_UP[size], (ms) => allowedLoad({ origin, key, wish: "stream", ms }));
    }
    const all = { altrace: new Times(), bare: new Times() };
    const held = { altrace: 0, bare: 0 };
    const slice = (side: keyof typeof sides) => async () => {
      const times = new Times();
      const of = { origin: sides[side], key, upstream: mesh.upstream };
      await Promise.all(
        Array.from({ length: AT_ONCE }, async () => {
          for (let no = 0; no < STREAMS_EACH[size]; no += 1) {
            const delays = await delaysOfOne(of);
            for (const { ns } of delays) {
              times.add(ns);
              all[side].add(ns);
            }
            held[side] += delays.filter(({ isHeld }) => isHeld).length;
          }
        }),
      );
      const medianUs = times.percentileMs(50) * US_PER_MS;
      if (!(medianUs > 0)) throw new Error("nothing was measured");
      return medianUs;
    };
    // What was compiled for streams that come at once is compiled anew for these.
    await slice("altrace")();
    await slice("bare")();
    const pairs = await interleave(PAIRS_MIN, {
      subject: slice("altrace"),
      baseline: slice("bare"),
    });
    const added = pairs.map(({ subject, baseline }) => subject - baseline);
    const verdict = judge(added, budget.added_p50_us?.must ?? Number.NaN);
    return {
      load: `${all.altrace.count} chunks each way, ${AT_ONCE} streams at once, a chunk of each every 5 ms`,
      figures: [
        { name: "added_p50_us", value: verdict.median, unit: "us", pairs: verdict },
        ...Object.entries(all).flatMap(([name, times]) => percentiles(name, times)),
        {
          name: "altrace_with_the_next_percent",
          value: (held.altrace * 100) / all.altrace.count,
          unit: "%",
        },
      ],
      notes: [
        "From the provider's write of a word until the whole of it was read, both in the generator's process. added_p50: " +
          "the median of a slice through Altrace less that of the slice through the bare proxy next to it. with_the_next: " +
          "words whose last letters may begin what a rule looks for (an s, of sk-) are whole with the word behind them.",
      ],
    };
  },
};

let streams = 0;

/** How late each word of one stream was, nanoseconds, and whether the next one was written by then. */
async function delaysOfOne(of: {
  readonly origin: string;
  readonly key: string;
  readonly upstream: Upstream;
}): Promise<readonly { readonly ns: bigint; readonly isHeld: boolean }[]> {
  streams += 1;
  const name = `paced-${streams}`;
  const readNs = await readWordTimes({ ...of, name, words: PACED_WORDS });
  const writtenNs = of.upstream.paced.take(name);
  if (writtenNs.length !== readNs.length) throw new Error(`${readNs.length} words of a stream`);
  return readNs.map((ns, at) => {
    const next = writtenNs[at + 1];
    return { ns: ns - (writtenNs[at] as bigint), isHeld: next !== undefined && ns >= next };
  });
}

function percentiles(name: string, times: Times): Figure[] {
  return [50, 90, 99].map((percent) => ({
    name: `${name}_p${percent}_us`,
    value: times.percentileMs(percent) * US_PER_MS,
    unit: "us",
  }));
}
