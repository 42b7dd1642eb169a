import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { KernelFault } from "../../proto/kernel-faults.ts";
import type { Pod } from "./pod.ts";

/** What an operator sees of one machine's walls. */
export type EnforcerMetrics = {
  loaded(tookNs: bigint): void;
  repaired(): void;
  gated(tookNs: bigint, isGated: boolean): void;
  swept(sockets: number): void;
  canary(wrong: readonly KernelFault[]): void;
};

const SECOND_NS = 1e9;

/** Registers the enforcer's metrics. Agents are no labels: they are asked for over gRPC. */
export function enforcerMetrics(
  registry: Registry,
  read: {
    readonly pods: () => readonly Pod[];
    readonly wrong: () => readonly KernelFault[];
    readonly hasHelper: () => boolean;
    readonly ebpfPods: () => number;
    readonly packets: () => Promise<ReadonlyMap<string, number>>;
  },
): EnforcerMetrics {
  const registers = [registry];
  new Gauge({
    name: "altrace_kernel_pods",
    help: "Pods of this machine, by how they are governed.",
    labelNames: ["kind"],
    registers,
    collect() {
      const pods = read.pods();
      const count = (kind: string, of: (pod: Pod) => boolean) =>
        this.set({ kind }, pods.filter(of).length);
      count("governed", ({ agent, exempt }) => !exempt && agent !== undefined);
      count("unknown", ({ agent, exempt }) => !exempt && agent === undefined);
      count("exempt", ({ exempt }) => exempt);
      // Each address that several pods have, beside these.
      count("contested", ({ isContested }) => isContested === true);
    },
  });
  new Gauge({
    name: "altrace_kernel_in_force",
    help: "1 while rules and routes stand and the canary is stopped everywhere.",
    registers,
    collect() {
      this.set(read.wrong().length === 0 ? 1 : 0);
    },
  });
  new Gauge({
    name: "altrace_kernel_gate_helper",
    help: "1 while the program runs that closes the gate within a turn of the node's.",
    registers,
    collect() {
      this.set(read.hasHelper() ? 1 : 0);
    },
  });
  new Gauge({
    name: "altrace_kernel_ebpf_pods",
    help: "Pods that the optional eBPF programs are attached to.",
    registers,
    collect() {
      this.set(read.ebpfPods());
    },
  });
  countPackets(registry, read.packets);
  const load = new Histogram({
    name: "altrace_kernel_load_seconds",
    help: "Time to put a ruleset in force.",
    buckets: [0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 5],
    registers,
  });
  const gate = new Histogram({
    name: "altrace_kernel_gate_seconds",
    help: "Time to change the killed sets, in the enforcer.",
    buckets: [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.02],
    registers,
  });
  const counter = (name: string, help: string) => new Counter({ name, help, registers });
  const repairs = counter("altrace_kernel_repairs_total", "Times that rules were put back.");
  const faults = counter("altrace_kernel_gate_faults_total", "Kills that the kernel did not take.");
  const sockets = counter("altrace_kernel_swept_total", "Sockets that only the sweep has ended.");
  const rounds = counter("altrace_canary_rounds_total", "Rounds of the canary.");
  const escapes = counter("altrace_canary_escapes_total", "Ways on which a canary got out.");
  return {
    loaded: (tookNs) => load.observe(Number(tookNs) / SECOND_NS),
    repaired: () => repairs.inc(),
    gated: (tookNs, isGated) => {
      gate.observe(Number(tookNs) / SECOND_NS);
      if (!isGated) faults.inc();
    },
    swept: (count) => sockets.inc(count),
    canary: (wrong) => {
      rounds.inc();
      escapes.inc(wrong.filter(({ rc }) => rc === "kernel_bypass").length);
    },
  };
}

function countPackets(registry: Registry, packets: () => Promise<ReadonlyMap<string, number>>) {
  new Counter({
    name: "altrace_kernel_packets_total",
    help: "Packets from pods since the rules were loaded, by what became of them. `over`: too many connections of one address, `asked`: too many questions for names.",
    labelNames: ["what"],
    registers: [registry],
    async collect() {
      const counts = await packets();
      this.reset();
      for (const [what, count] of counts) this.inc({ what }, count);
    },
  });
}
