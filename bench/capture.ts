import { kernelUnavailable, type Speaker } from "../test/support/kernel-lab.ts";
import { NODE } from "../test/support/run-altrace.ts";
import { CONNECTIONS } from "./harness/allowed-load.ts";
import type { Bench, BenchOptions, BenchResult, Budget, Figure } from "./harness/bench.ts";
import { costFigures } from "./harness/cost-pairs.ts";
import { cpuMicros } from "./harness/cpu-time.ts";
import {
  type KernelMachine,
  kernelSkipped,
  PROVIDER,
  startKernelMachine,
  wordOf,
} from "./harness/kernel-machine.ts";
import { TARGET } from "./harness/mesh-under-test.ts";
import { interleave, PAIRS_MIN } from "./harness/paired.ts";
import { askedAtLeast } from "./harness/warm-up.ts";

const SLICE_MS = { full: 6_000, short: 1_500 };
/** Answered before anything counts, each way: until then a node is still being compiled, and TLS takes longest. */
const WARM_UP = { full: 20_000, short: 1_000 };
const WARM_UP_MS_MAX = 60_000;
/** Where the program in the pod believes that its provider is. */
const ANYWHERE = "198.18.5.5";

export const capture: Bench = {
  name: "capture",
  question:
    "What does a request cost a node whose agent knows of nothing and is captured, compared with the gateway?",
  run: async (options, budget) => {
    const why = kernelUnavailable();
    return why === undefined ? await measure(options, budget) : kernelSkipped(budget, why);
  },
};

type Way = "captured" | "gateway";

async function measure({ isFull, durationMs }: BenchOptions, budget: Budget): Promise<BenchResult> {
  using machine = await startKernelMachine({ isProbed: false });
  const key = await machine.operator.issueKey(TARGET);
  const kept = await loadsOf(machine, { key });
  const warmUp = { count: isFull ? WARM_UP.full : WARM_UP.short, msMax: WARM_UP_MS_MAX };
  let warmed = 0;
  for (const one of [kept.captured, kept.gateway])
    warmed += await askedAtLeast(warmUp, async (ms) => (await costOf(machine, one, ms)).requests);
  const sliceMs = durationMs ?? (isFull ? SLICE_MS.full : SLICE_MS.short);
  let requests = 0;
  const counted = (by: Speaker) => async () => {
    const cost = await costOf(machine, by, sliceMs);
    requests += cost.requests;
    return cost.cpuMicrosPerRequest;
  };
  const pairs = await interleave(PAIRS_MIN, {
    subject: counted(kept.captured),
    baseline: counted(kept.gateway),
  });
  const alone = await loadsOf(machine, { key, once: true });
  return {
    load: `${requests} requests on ${CONNECTIONS} connections, in ${PAIRS_MIN} pairs, after ${warmed}`,
    figures: [
      ...costFigures(pairs, { subject: "captured", baseline: "gateway" }, budget.cpu_ratio?.must),
      aloneFigure("captured", await costOf(machine, alone.captured, sliceMs)),
      aloneFigure("gateway", await costOf(machine, alone.gateway, sliceMs)),
    ],
    notes: [
      "One node, one agent, one provider with TLS. Captured: from a pod, to the provider's own name at an address of",
      "nobody's; the connection is taken off its way and its TLS is ended by the node. Gateway: the same request in",
      "plain HTTP from the machine itself. Connections are kept, from one slice to the next. `alone`: each request is",
      "the only one of its connection, with all that it takes to open it. CPU of the whole process, all its threads.",
    ],
  };
}

/** The same requests from a pod that knows of nothing, and from the machine to the gateway. */
async function loadsOf(
  { lab, caFile, ready }: KernelMachine,
  of: { readonly key: string; readonly once?: boolean },
): Promise<Readonly<Record<Way, Speaker>>> {
  const place = `${import.meta.dirname}/fixtures/load-in-place.ts`;
  const load = (at: "a1" | "node", to: object) =>
    lab.speak(at, [NODE, place, JSON.stringify({ ...of, ...to })]);
  const tls = { address: ANYWHERE, caFile };
  const captured = load("a1", { origin: `https://${PROVIDER}`, tls });
  const gateway = load("node", { origin: ready.gateway });
  for (const one of [captured, gateway]) await wordOf(one, (word) => word.ready === true);
  return { captured, gateway };
}

function aloneFigure(way: Way, { cpuMicrosPerRequest }: Cost): Figure {
  return { name: `${way}_alone_cpu_us`, value: cpuMicrosPerRequest, unit: "us" };
}

type Cost = { readonly cpuMicrosPerRequest: number; readonly requests: number };

async function costOf({ pid }: KernelMachine, by: Speaker, ms: number): Promise<Cost> {
  by.said.length = 0;
  const before = cpuMicros(pid);
  by.child.stdin?.write(`${ms}\n`);
  const word = await wordOf(by, ({ requests, failed }) => (requests ?? failed) !== undefined);
  const used = cpuMicros(pid) - before;
  if (typeof word.requests !== "number") throw new Error(JSON.stringify(word));
  return { cpuMicrosPerRequest: used / word.requests, requests: word.requests };
}
