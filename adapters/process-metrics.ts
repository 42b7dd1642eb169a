import { collectDefaultMetrics, type Registry } from "prom-client";

/**
 * How often a thread's delay is looked at. The package's own 10 ms cost 8 ms of processor time a second in a process that
 * does nothing; a look that is late shows what held the thread up, however seldom one comes.
 */
export const DELAY_LOOK_MS = 100;

/** What there is to say of any Node process: processor, memory, descriptors, collections, the delay of this thread. */
export function registerProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: DELAY_LOOK_MS });
}
