import { connectLines } from "../adapters/line-socket.ts";
import { KERNEL_PACKAGES } from "../test/setup/kernel-programs.ts";
import {
  gateFiles,
  listPods,
  startEnforcer,
  writePodList,
} from "../test/support/kernel-enforcer.ts";
import {
  KernelLab,
  kernelUnavailable,
  type Said,
  type Speaker,
} from "../test/support/kernel-lab.ts";
import { waitUntil } from "../test/support/wait-until.ts";
import type { Bench, Figure } from "./harness/bench.ts";
import { Times } from "./harness/histogram.ts";

const AGENT = "agent/research/worker-1";
const ROUNDS = { full: 100, short: 20 };
const LOADS = { full: 15, short: 5 };
const PODS = 250;
/** Flows are under way before the kill, or their end would say nothing. Milliseconds. */
const UNDER_WAY_MS = 20;
/** Attempts to connect anew begin so long before the kill. Milliseconds. */
const ANEW_MS = 3;

/** The ends that an agent sees, each from the moment in which the gate was asked. */
const ENDS = ["idle", "chatty", "anew"] as const;

export const kernel: Bench = {
  name: "kernel",
  question:
    "How soon does a kill in the kernel reach an agent's flows, and what do rules for 250 pods take?",
  run: async ({ isFull }, budget) => {
    const why = kernelUnavailable();
    if (why !== undefined) {
      const skipped = new Map(Object.keys(budget).map((name) => [name, why]));
      const notes = [`It takes root, Linux and ${KERNEL_PACKAGES.join(", ")}.`];
      return { load: "none", figures: [], skipped, notes };
    }
    using lab = new KernelLab();
    listPods(lab);
    const enforcer = await startEnforcer(lab);
    const { ends, gate } = await kills(lab, isFull ? ROUNDS.full : ROUNDS.short);
    const loads = await ruleLoads(lab, enforcer, isFull ? LOADS.full : LOADS.short);
    const percentiles = (name: string, times: Times): readonly Figure[] =>
      [50, 99].map((percent) => ({
        name: `${name}_p${percent}_ms`,
        value: times.percentileMs(percent),
        unit: "ms",
      }));
    return {
      load: `${gate.count} kills of one agent with two flows; ${loads.count} loads of ${PODS} pods`,
      figures: [
        ...percentiles("gate", gate),
        ...percentiles("idle_rst", ends.idle),
        ...percentiles("chatty_rst", ends.chatty),
        ...percentiles("refused", ends.anew),
        ...percentiles("load_250_pods", loads),
      ],
      notes: [
        "Real enforcer, launcher, rules and namespaces. In the place of the node's loops stands a proxy that",
        "resets what it holds when it is signalled, after the gate's answer. Times are the agent's own, its",
        "interpreter's waking included, and for `refused` the half millisecond between two attempts. Loads are as",
        "the enforcer measures them, in whole milliseconds.",
      ],
    };
  },
};

type Ends = Readonly<Record<(typeof ENDS)[number], Times>>;

async function kills(
  lab: KernelLab,
  rounds: number,
): Promise<{ readonly ends: Ends; readonly gate: Times }> {
  const probe = await lab.captureProbe();
  const script = `${import.meta.dirname}/fixtures/killed-agent.py`;
  const agent = lab.speak("a1", ["python3", script, "198.18.5.5"]);
  const ends: Ends = { idle: new Times(), chatty: new Times(), anew: new Times() };
  const gate = new Times();
  const pids = lab.running("node", { uid: 4737, word: "capture-probe.ts" });
  const ask = await openGate(lab);
  try {
    for (let i = 0; i < rounds; i++) {
      agent.child.stdin?.write("round\n");
      await heard(agent, ({ armed }) => armed === true);
      await new Promise((resolve) => setTimeout(resolve, UNDER_WAY_MS));
      agent.child.stdin?.write("anew\n");
      await new Promise((resolve) => setTimeout(resolve, ANEW_MS));
      const fromNs = process.hrtime.bigint();
      await ask("kill");
      gate.add(process.hrtime.bigint() - fromNs);
      for (const pid of pids) process.kill(pid, "SIGUSR2");
      const round = await heard(agent, ({ idle }) => idle !== undefined);
      for (const end of ENDS) {
        // An end that never came, or came by itself, must not look like a fast one.
        if (typeof round[end] !== "number")
          throw new Error(`${end} never ended: ${JSON.stringify(round)}`);
        const tookNs = (round[end] as number) - Number(fromNs);
        if (tookNs < 0) throw new Error(`${end} ended before the kill`);
        ends[end].add(tookNs);
      }
      await ask("revive");
    }
  } finally {
    for (const one of [agent, probe]) one.child.kill("SIGTERM");
    await Promise.all([agent, probe].map(({ exit }) => exit));
  }
  return { ends, gate };
}

/** The next such word, taken out of what was said. */
async function heard(by: Speaker, is: (one: Said) => boolean): Promise<Said> {
  const word = await waitUntil(
    () => `a word of ${JSON.stringify(by.said)}`,
    () => by.said.find(is),
  );
  by.said.length = 0;
  return word;
}

/** Asks as a node does, on one connection. */
async function openGate(lab: KernelLab): Promise<(t: "kill" | "revive") => Promise<void>> {
  const waiting = new Map<number, (answer: { readonly error?: string }) => void>();
  let lastNo = 0;
  const connection = connectLines(gateFiles(lab).socket, {
    onMessage: (message) => {
      const answer = message as { readonly t: string; readonly n: number; readonly error?: string };
      if (answer.t === "done") waiting.get(answer.n)?.(answer);
    },
    onEnd: () => undefined,
  });
  return (t) =>
    new Promise((resolve, reject) => {
      const n = ++lastNo;
      waiting.set(n, ({ error }) => {
        waiting.delete(n);
        if (error === undefined) resolve();
        else reject(new Error(error));
      });
      connection.send({ t, n, scope: AGENT });
    });
}

/** As the enforcer itself measures it: routes, one transaction, and what then stands, read back. */
async function ruleLoads(lab: KernelLab, enforcer: Speaker, count: number): Promise<Times> {
  const times = new Times();
  for (let i = 0; i < count; i++) {
    enforcer.said.length = 0;
    const pods = Array.from({ length: PODS }, (_, no) => ({
      name: `pod-${no}`,
      link: `veth${no}`,
      addresses: [`10.78.${i}.${no + 1}`, `fd78:${i}::${(no + 1).toString(16)}`],
    }));
    writePodList(lab, pods);
    const { ms } = await heard(
      enforcer,
      ({ event, pods: loaded }) => event === "rules_loaded" && loaded === PODS,
    );
    times.add(Number(ms) * NS_PER_MS);
  }
  return times;
}

const NS_PER_MS = 1e6;
