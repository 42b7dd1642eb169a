import { wishBody } from "./fixtures/upstream.ts";
import type { Bench } from "./harness/bench.ts";
import { closedLoop } from "./harness/closed-loop.ts";
import { Times } from "./harness/histogram.ts";
import { type MeshUnderTest, startMesh, TARGET } from "./harness/mesh-under-test.ts";
import { interleave, judgePairs, PAIRS_MIN } from "./harness/paired.ts";

const SLICE_MS = { full: 6_000, short: 1_500 };
const PROMPTS_PER_SECOND = 100;
const PROMPT_BYTES = 100_000;
const REFUSED_PAUSE_MS = 4;
const CONNECTIONS = 4;

export const refuse: Bench = {
  name: "refuse",
  question: "How much later is a killed agent refused while its neighbours send large prompts?",
  run: async ({ isFull, durationMs }, budget) => {
    const sliceMs = durationMs ?? (isFull ? SLICE_MS.full : SLICE_MS.short);
    await using mesh = await startMesh({});
    await mesh.operator.kill(`agent/${TARGET}`);
    const counts = { refused: 0, prompts: 0 };
    const all = { subject: new Times(), baseline: new Times() };
    const slice = (into: Times, isLoaded: boolean) => async () => {
      const times = new Times();
      const stop = AbortSignal.timeout(sliceMs);
      const prompting = isLoaded ? sendPrompts(mesh, stop, counts) : Promise.resolve();
      const took = (ns: bigint): void => {
        times.add(ns);
        into.add(ns);
      };
      await Promise.all([refusals(mesh, stop, took), prompting]);
      counts.refused += times.count;
      return times.percentileMs(99);
    };
    const pairs = await interleave(PAIRS_MIN, {
      subject: slice(all.subject, true),
      baseline: slice(all.baseline, false),
    });
    const verdict = judgePairs(pairs, budget.p99_ratio?.must ?? Number.NaN);
    const ms = (name: string, value: number) => ({ name, value, unit: "ms" });
    return {
      load: `${counts.refused} refusals; ${counts.prompts} prompts of ${PROMPT_BYTES} bytes beside`,
      figures: [
        { name: "p99_ratio", value: verdict.median, unit: "x", pairs: verdict },
        ms("loaded_p50_ms", all.subject.percentileMs(50)),
        ms("loaded_p99_ms", all.subject.percentileMs(99)),
        ms("idle_p50_ms", all.baseline.percentileMs(50)),
        ms("idle_p99_ms", all.baseline.percentileMs(99)),
      ],
      notes: ["Seen from outside: from the write of the request to its whole answer."],
    };
  },
};

async function refusals(
  { altrace, keys }: MeshUnderTest,
  stop: AbortSignal,
  took: (ns: bigint) => void,
): Promise<void> {
  const body = wishBody("answer", "refused");
  await closedLoop(
    {
      origin: altrace.ready.gateway,
      key: keys.target,
      connections: CONNECTIONS,
      pauseMs: REFUSED_PAUSE_MS,
      next: () => ({ id: "refused", body }),
      onAnswer: ({ status, reason, tookNs }) => {
        if (status !== 403) throw new Error(`expected a refusal, not ${status} ${reason}`);
        took(tookNs);
      },
    },
    stop,
  );
}

/** An open loop would pile up on a machine that cannot keep the rate: a slow closed one does not. */
async function sendPrompts(
  { altrace, keys }: MeshUnderTest,
  stop: AbortSignal,
  counts: { prompts: number },
): Promise<void> {
  const body = wishBody("answer", `prompt ${"lorem ipsum dolor ".repeat(PROMPT_BYTES / 18)}`);
  await closedLoop(
    {
      origin: altrace.ready.gateway,
      key: keys.neighbour,
      connections: CONNECTIONS,
      pauseMs: (CONNECTIONS * 1_000) / PROMPTS_PER_SECOND,
      next: () => ({ id: "prompt", body }),
      onAnswer: ({ status, reason }) => {
        if (status !== 200) throw new Error(`a prompt was refused: ${status} ${reason}`);
        counts.prompts += 1;
      },
    },
    stop,
  );
}
