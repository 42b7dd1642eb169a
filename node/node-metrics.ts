import { Gauge, type Registry } from "prom-client";
import type { Clock } from "../ports/clock.ts";
import { KERNEL_FAULTS } from "../proto/kernel-faults.ts";
import type { NodeView } from "./api/node-view.ts";
import type { Control } from "./control.ts";
import { overrunBalance } from "./table/lend.ts";
import { openUntilNs, type Table } from "./table/table.ts";

const MICROS_PER_USD = 1e6;

/** Metrics of the whole node, read when they are asked for. */
export function registerNodeMetrics(
  registry: Registry,
  of: {
    readonly view: NodeView;
    readonly control: Control;
    readonly table: Table;
    readonly clock: Clock;
    /** Of the mesh thread. */
    readonly niceness: () => number;
  },
): void {
  const { view, control, table, clock, niceness } = of;
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number | Promise<number>) =>
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set(await read());
      },
    });
  gauge("altrace_open", "1 while the node may allow requests.", async () =>
    (await view.closedBecause()).length === 0 ? 1 : 0,
  );
  gauge("altrace_open_until_seconds", "Time until the dead-man switch closes the node.", () => {
    const leftNs = openUntilNs(table) - clock.monoNs();
    return Math.max(0, Number(leftNs) / 1e9);
  });
  gauge("altrace_mesh_digest_age_seconds", "Age of the last entitling digest.", async () => {
    const { digestAgeMs } = await view.mesh();
    return digestAgeMs === undefined ? Number.POSITIVE_INFINITY : digestAgeMs / 1_000;
  });
  gauge("altrace_mesh_thread_niceness", "Niceness of the thread that enforces kills.", niceness);
  gauge("altrace_agents_active", "Accounts with an actor in memory.", () => {
    return control.actors.accounts.size;
  });
  gauge("altrace_overrun_available_usd", "Overrun lent to this node and not held.", () => {
    return Number(overrunBalance(table)) / MICROS_PER_USD;
  });
  if (view.kernelFaults() !== undefined) {
    new Gauge({
      name: "altrace_kernel_fault",
      help: "1 while the kernel layer of this machine has this fault, by its code.",
      labelNames: ["code"],
      registers,
      collect() {
        const now = (view.kernelFaults() ?? []).map(({ rc }) => rc as string);
        for (const code of Object.keys(KERNEL_FAULTS))
          this.set({ code }, now.includes(code) ? 1 : 0);
      },
    });
  }
  gauge("altrace_strangers", "Sources that are no agent and have tried to get out.", () => {
    return control.strangers.count;
  });
  gauge("altrace_policy_version", "Version of the policy in force; 0 before the first.", () => {
    return view.policy()?.version ?? 0;
  });
}
