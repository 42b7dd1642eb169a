import { kernelUnavailable, type Speaker } from "../test/support/kernel-lab.ts";
import { waitUntil } from "../test/support/wait-until.ts";
import type { Bench, BenchOptions, BenchResult, Figure } from "./harness/bench.ts";
import { kernelSkipped, SITE } from "./harness/kernel-machine.ts";
import { pause } from "./harness/operator.ts";
import { median } from "./harness/paired.ts";
import { tellProgress } from "./harness/progress.ts";
import { type MeshForm, startReplaced } from "./harness/replaced-node.ts";

const ROUNDS = { full: 20, short: 5 };
const FORMS: readonly MeshForm[] = ["up", "node"];
/** Between two connections, ms. */
const EVERY_MS = 5;
/** Before and after each replacement, ms: what waited has been served by then. */
const AROUND_MS = 500;
/** Where the agents believe that the site is. */
const ANYWHERE = "198.18.5.5";

export const replace: Bench = {
  name: "replace",
  question:
    "How long does a new connection wait at most while a node is replaced, and does any fail?",
  run: async (options, budget) => {
    const why = kernelUnavailable();
    return why === undefined ? await measure(options) : kernelSkipped(budget, why);
  },
};

async function measure({ isFull }: BenchOptions): Promise<BenchResult> {
  const rounds = isFull ? ROUNDS.full : ROUNDS.short;
  const found = new Map<MeshForm, Replaced>();
  for (const form of FORMS) found.set(form, await replaced(form, rounds));
  const all = [...found.values()];
  const sum = (of: (one: Replaced) => number) => all.reduce((total, one) => total + of(one), 0);
  const longest = (one: Replaced) => Math.max(...one.longestMs);
  const failures = all.flatMap((one) => one.failures);
  return {
    load: `${rounds} replacements each of altrace up and altrace node, with a new connection every ${EVERY_MS} ms`,
    figures: [
      ms("longest_wait_ms", Math.max(...all.map(longest))),
      { name: "failed", value: failures.length, unit: "" },
      { name: "served", value: sum((one) => one.served), unit: "" },
      ...[...found].flatMap(([form, one]) => [
        ms(`${form}_longest_wait_ms`, longest(one)),
        ms(`${form}_median_of_longest_ms`, median(one.longestMs)),
        ms(`${form}_undisturbed_longest_ms`, one.undisturbedMs),
      ]),
    ],
    notes: [
      "Real rules, enforcer, launcher (--early) and node, in namespaces. `node` has its coordinator and a nats-server",
      "as processes beside it; of `up`, which is coordinator, bus and node at once, all of it is replaced. Agents in a pod",
      "connect to the site's name at an address of nobody's, and wait from the call until the far side's answer; one more keeps",
      "a connection. `undisturbed` is the longest wait of the second before the first replacement.",
      ...failures.slice(0, 5).map((why) => `failed: ${why}.`),
    ],
  };
}

const ms = (name: string, value: number): Figure => ({ name, value, unit: "ms" });

type Replaced = {
  /** Of each replacement. */
  readonly longestMs: readonly number[];
  readonly undisturbedMs: number;
  readonly served: number;
  readonly failures: readonly string[];
};

async function replaced(form: MeshForm, rounds: number): Promise<Replaced> {
  using node = await startReplaced(form);
  const script = `${import.meta.dirname}/fixtures/new-connections.py`;
  const clients = node.lab.speak("a1", ["python3", script, ANYWHERE, SITE, `${EVERY_MS}`]);
  const longestMs: number[] = [];
  const failures: string[] = [];
  let served = 0;
  const taken = async (): Promise<number> => {
    const one = await told(clients);
    served += one.served;
    failures.push(...one.failures);
    return one.longest_ms;
  };
  // One that has just joined its mesh opens only after it has said that it started, which is no replacement.
  await waitUntil("a first connection", async () => (await told(clients)).served > 0);
  await pause(2 * AROUND_MS);
  await told(clients);
  await pause(2 * AROUND_MS);
  const undisturbedMs = await taken();
  for (let no = 1; no <= rounds; no += 1) {
    tellProgress(`altrace ${form}, replacement ${no} of ${rounds}`);
    await node.replace();
    await pause(AROUND_MS);
    longestMs.push(await taken());
  }
  return { longestMs, undisturbedMs, served, failures };
}

type Told = {
  readonly served: number;
  readonly longest_ms: number;
  readonly failures: readonly string[];
};

async function told(clients: Speaker): Promise<Told> {
  clients.said.length = 0;
  clients.child.stdin?.write("tell\n");
  return waitUntil(
    () => `the clients' word: ${JSON.stringify(clients.said)}`,
    () => clients.said[0] as unknown as Told | undefined,
  );
}
