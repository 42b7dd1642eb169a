import { wishBody } from "./fixtures/upstream.ts";
import type { Bench, Figure } from "./harness/bench.ts";
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
    await using mesh = await startMesh({ isProbed: true });
    await mesh.operator.kill(`agent/${TARGET}`);
    const counts = { refused: 0, prompts: 0 };
    const all = { subject: newTimes(), baseline: newTimes() };
    let sliceNo = 0;
    // Code that has run a few times only is slow, and that would be the first pair's loss.
    const warm = AbortSignal.timeout(sliceMs);
    await Promise.all([
      refusals(mesh, { sliceNo, stop: warm, took: () => undefined }),
      sendPrompts(mesh, warm, { prompts: 0 }),
    ]);
    const slice = (into: Both, isLoaded: boolean) => async () => {
      sliceNo += 1;
      const stop = AbortSignal.timeout(sliceMs);
      const prompting = isLoaded ? sendPrompts(mesh, stop, counts) : Promise.resolve();
      const took = (ns: bigint): void => into.outside.add(ns);
      await Promise.all([refusals(mesh, { sliceNo, stop, took }), prompting]);
      const times = await insideTimes(mesh, { sliceNo, into: into.inside });
      counts.refused += times.count;
      return times.percentileMs(99);
    };
    const pairs = await interleave(PAIRS_MIN, {
      subject: slice(all.subject, true),
      baseline: slice(all.baseline, false),
    });
    const verdict = judgePairs(pairs, budget.p99_ratio?.must ?? Number.NaN);
    return {
      load: `${counts.refused} refusals; ${counts.prompts} prompts of ${PROMPT_BYTES} bytes beside`,
      figures: [
        { name: "p99_ratio", value: verdict.median, unit: "x", pairs: verdict },
        ...percentiles("loaded", all.subject.inside),
        ...percentiles("idle", all.baseline.inside),
        ...percentiles("outside_loaded", all.subject.outside),
        ...percentiles("outside_idle", all.baseline.outside),
      ],
      notes: [
        "In the node: from the complete head to the refusal in the socket's hands, which is judged. " +
          "outside: from the write of the request to its whole answer, with the generator and the " +
          "scheduler in it; reported.",
      ],
    };
  },
};

type Both = { readonly inside: Times; readonly outside: Times };

function newTimes(): Both {
  return { inside: new Times(), outside: new Times() };
}

function percentiles(name: string, times: Times): Figure[] {
  return [50, 99].map((percent) => ({
    name: `${name}_p${percent}_ms`,
    value: times.percentileMs(percent),
    unit: "ms",
  }));
}

/** Of one slice's refusals, as the node's own probe saw them. */
async function insideTimes(
  mesh: MeshUnderTest,
  { sliceNo, into }: { readonly sliceNo: number; readonly into: Times },
): Promise<Times> {
  const { headNs, writtenNs } = await mesh.probed();
  const times = new Times();
  for (const [id, ns] of writtenNs) {
    const head = headNs.get(id);
    if (head === undefined || !id.startsWith(`r${sliceNo}-`)) continue;
    times.add(ns - head);
    into.add(ns - head);
  }
  if (times.count === 0) throw new Error("the probe saw no refusal");
  return times;
}

async function refusals(
  { altrace, keys }: MeshUnderTest,
  slice: {
    readonly sliceNo: number;
    readonly stop: AbortSignal;
    readonly took: (ns: bigint) => void;
  },
): Promise<void> {
  const { sliceNo, stop, took } = slice;
  const body = wishBody("answer", "refused");
  let sent = 0;
  await closedLoop(
    {
      origin: altrace.ready.gateway,
      key: keys.target,
      connections: CONNECTIONS,
      pauseMs: REFUSED_PAUSE_MS,
      next: () => {
        sent += 1;
        return { id: `r${sliceNo}-${sent}`, body };
      },
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
