import { GATE_WAIT_MS } from "../node/mesh/kernel-gate-link.ts";
import type { Ack } from "../proto/gen/altrace/v1/mesh_pb.ts";
import { writePodList } from "../test/support/kernel-enforcer.ts";
import { kernelUnavailable, type Said } from "../test/support/kernel-lab.ts";
import type { Bench, BenchOptions, BenchResult, Figure } from "./harness/bench.ts";
import { Times } from "./harness/histogram.ts";
import {
  type KernelMachine,
  kernelSkipped,
  SITE,
  startKernelMachine,
  wordOf,
} from "./harness/kernel-machine.ts";
import { TARGET } from "./harness/mesh-under-test.ts";
import { pause } from "./harness/operator.ts";

const SCOPE = `agent/${TARGET}`;
const ROUNDS = { full: 120, short: 20 };
const LOADS = { full: 15, short: 5 };
const PODS = 250;
const NS_PER_MS = 1e6;
/** Flows are under way before the kill, or their end would say nothing. Milliseconds. */
const UNDER_WAY_MS = 20;
/** Long enough for the gate's helper to have listed them: an agent's flows are rarely younger. */
const LISTED_MS = 300;
/** Attempts to connect anew begin so long before the kill is ordered. */
const ANEW_MS = 2;

/**
 * What an agent does when it is killed, and the ends that it then sees. One after the other: attempts to
 * connect keep the node busier than any agent, and flows would be reset by a node that is.
 */
const KINDS: readonly { kind: "flows" | "anew"; ends: readonly End[]; forMs: number }[] = [
  { kind: "flows", ends: ["idle", "chatty"], forMs: LISTED_MS },
  { kind: "flows", ends: ["young"], forMs: UNDER_WAY_MS },
  { kind: "anew", ends: ["anew"], forMs: ANEW_MS },
];
type End = "idle" | "chatty" | "young" | "anew";
/** What the agent calls the end of a young flow, which is an idle one. */
const saidAs = (end: End) => (end === "young" ? "idle" : end);
/** Of each end: when its reset came in at the agent's interface, and when the agent had seen it. */
type EndTimes = { readonly came: Times; readonly seen: Times };

export const kernel: Bench = {
  name: "kernel",
  question:
    "How soon does a kill in the kernel reach an agent's flows, and what do rules for 250 pods take?",
  run: async (options, budget) => {
    const why = kernelUnavailable();
    return why === undefined ? await measure(options) : kernelSkipped(budget, why);
  },
};

async function measure({ isFull }: BenchOptions): Promise<BenchResult> {
  using machine = await startKernelMachine({ isProbed: true });
  const { ends, enforced, gated, gatesMissed } = await kills(
    machine,
    isFull ? ROUNDS.full : ROUNDS.short,
  );
  const loads = await ruleLoads(machine, isFull ? LOADS.full : LOADS.short);
  const percentiles = (name: string, times: Times): readonly Figure[] =>
    [50, 99].map((percent) => ({
      name: `${name}_p${percent}_ms`,
      value: times.percentileMs(percent),
      unit: "ms",
    }));
  return {
    load: `${gated.count} kills of one agent, with two flows and while it connects in turn; ${loads.count} loads of ${PODS} pods`,
    figures: [
      ...percentiles("enforced", enforced),
      ...percentiles("gate", gated),
      { name: "gates_missed", value: gatesMissed, unit: "" },
      ...percentiles("idle_rst", ends.idle.came),
      ...percentiles("chatty_rst", ends.chatty.came),
      ...percentiles("young_rst", ends.young.came),
      ...percentiles("refused", ends.anew.came),
      ...percentiles("idle_seen", ends.idle.seen),
      ...percentiles("chatty_seen", ends.chatty.seen),
      ...percentiles("young_seen", ends.young.seen),
      ...percentiles("refusal_seen", ends.anew.seen),
      ...percentiles("load_250_pods", loads),
    ],
    notes: [
      "Real rules, enforcer, helper, launcher and node (`altrace up`), in namespaces. All times of a kill begin when",
      "the node's bus callback holds its bytes, which a probe in the node writes down: signature check, cell,",
      "gate and resets are all in them. `enforced` and `gate` are the node's own words in its acknowledgement;",
      "`rst` and `refused` are the kernel's stamps on the resets as they came in at the agent's interface; `seen` is the",
      "agent's own word, its interpreter's waking included. In `refused` is the tenth of a millisecond or more",
      `between two attempts. Flows are captured tunnels, ${LISTED_MS} ms old, and idle for young_rst, ${UNDER_WAY_MS} ms. Loads are as the enforcer measures them, in whole milliseconds.`,
    ],
  };
}

type Kills = {
  readonly ends: Readonly<Record<End, EndTimes>>;
  readonly enforced: Times;
  readonly gated: Times;
  gatesMissed: number;
};

async function kills(machine: KernelMachine, rounds: number): Promise<Kills> {
  const { lab, operator } = machine;
  const script = `${import.meta.dirname}/fixtures/killed-agent.py`;
  const agent = lab.speak("a1", ["python3", script, "198.18.5.5", SITE]);
  const seen: { readonly ends: readonly End[]; readonly said: Said }[] = [];
  const found: Kills = {
    ends: { idle: endTimes(), chatty: endTimes(), young: endTimes(), anew: endTimes() },
    enforced: new Times(),
    gated: new Times(),
    gatesMissed: 0,
  };
  for (let i = 0; i < rounds; i++)
    for (const { kind, ends, forMs } of KINDS) {
      agent.child.stdin?.write(`${kind}\n`);
      await wordOf(agent, ({ armed }) => armed === true);
      agent.said.length = 0;
      await pause(forMs);
      noteAck(found, (await operator.kill(SCOPE)).nodes[0]?.ack);
      seen.push({
        ends,
        said: await wordOf(agent, (said) => ends.every((end) => said[saidAs(end)] !== undefined)),
      });
      agent.said.length = 0;
      await operator.revive(SCOPE);
    }
  const { changes } = await machine.probed();
  const received = changes.filter(({ op, scope }) => op === "kill" && scope === SCOPE);
  if (received.length !== seen.length) throw new Error("the probe missed a kill");
  seen.forEach(({ ends, said }, no) => {
    const receivedNs = received[no]?.receivedNs ?? 0n;
    for (const end of ends) noteEnd(found.ends[end], saidAs(end), { said, receivedNs });
  });
  return found;
}

const endTimes = (): EndTimes => ({ came: new Times(), seen: new Times() });

function noteEnd(
  to: EndTimes,
  name: string,
  of: { readonly said: Said; readonly receivedNs: bigint },
): void {
  const took = (word: string): bigint => {
    const at = of.said[word];
    // An end that never came, or came by itself, must not look like a fast one.
    if (typeof at !== "number") throw new Error(`${word} never came: ${JSON.stringify(of.said)}`);
    const tookNs = BigInt(at) - of.receivedNs;
    if (tookNs < 0n) throw new Error(`${word} came before the kill`);
    return tookNs;
  };
  to.came.add(took(`${name}_rst`));
  to.seen.add(took(name));
}

function noteAck(found: Kills, ack: Ack | undefined): void {
  if (ack === undefined) throw new Error("a kill was done without the node's acknowledgement");
  found.enforced.add(ack.enforcedNs);
  // Not waited for any longer: it closed later, and how much later nobody has said.
  if (ack.gatedNs === 0n) found.gatesMissed += 1;
  found.gated.add(ack.gatedNs === 0n ? BigInt(GATE_WAIT_MS * NS_PER_MS) : ack.gatedNs);
}

/** As the enforcer itself measures it: routes, one transaction, and what then stands, read back. */
async function ruleLoads(machine: KernelMachine, count: number): Promise<Times> {
  const { lab, enforcer } = machine;
  const times = new Times();
  for (let i = 0; i < count; i++) {
    enforcer.said.length = 0;
    const pods = Array.from({ length: PODS }, (_, no) => ({
      name: `pod-${no}`,
      link: `veth${no}`,
      addresses: [`10.78.${i}.${no + 1}`, `fd78:${i}::${(no + 1).toString(16)}`],
    }));
    writePodList(lab, pods);
    const { ms } = await wordOf(
      enforcer,
      ({ event, pods: loaded }) => event === "rules_loaded" && loaded === PODS,
    );
    times.add(Number(ms) * NS_PER_MS);
  }
  return times;
}
