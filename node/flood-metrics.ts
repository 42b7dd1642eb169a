import { Counter, type Registry } from "prom-client";

/** What is counted of refusals that the log holds by their number alone. */
export function createFloodMetrics(registry: Registry): {
  onCounted(): void;
  onFault(error: unknown): void;
} {
  const counted = new Counter({
    name: "altrace_audit_refusals_coalesced_total",
    help: "Refusals that the log holds as part of a flood record.",
    registers: [registry],
  });
  const failed = new Counter({
    name: "altrace_audit_floods_unrecorded_total",
    help: "Flood records that could not be written; a gap record says how many decisions they were.",
    registers: [registry],
  });
  return { onCounted: () => counted.inc(), onFault: () => failed.inc() };
}
