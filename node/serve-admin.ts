import { AggregatorRegistry, Registry } from "prom-client";
import { type AdminServer, startAdminServer } from "../adapters/admin-server.ts";
import { registerProcessMetrics } from "../adapters/process-metrics.ts";
import type { NodeView } from "./api/node-view.ts";
import type { NodeParts } from "./app.ts";
import { METRICS_PORT_OFFSET } from "./config.ts";
import type { Control } from "./control.ts";
import type { LoopQuestions } from "./loop-questions.ts";
import type { MeshThreadLink } from "./mesh-thread-link.ts";
import { registerNodeMetrics } from "./node-metrics.ts";
import type { Table } from "./table/table.ts";

/** A node's metrics, those of its loops among them, and whether it may be given work. */
export function serveAdmin(of: {
  readonly parts: NodeParts;
  readonly view: NodeView;
  readonly questions: LoopQuestions;
  readonly control: Control;
  readonly table: Table;
  readonly mesh: MeshThreadLink;
}): Promise<AdminServer> {
  const { parts, view, questions, control, table, mesh } = of;
  const registry = new Registry();
  registerProcessMetrics(registry);
  const niceness = () => mesh.niceness;
  registerNodeMetrics(registry, { view, control, table, clock: parts.clock, niceness });
  const { portBase } = parts.config;
  return startAdminServer({
    host: parts.config.metricsHost,
    port: portBase === 0 ? 0 : portBase + METRICS_PORT_OFFSET,
    metrics: async () => {
      const own = await registry.getMetricsAsJSON();
      const merged = AggregatorRegistry.aggregate([own, ...(await questions.metrics())]);
      return { contentType: merged.contentType, text: await merged.metrics() };
    },
    // A node whose agents may have a way around it must not pass for one that governs them.
    notReady: async () => [
      ...(await view.closedBecause()),
      ...(view.kernelFaults() ?? []).map(({ rc, what }) => `${rc}: ${what}`),
    ],
    onBug: (error) => parts.log.fault("admin", error),
  });
}
