import { compileContentNow } from "../../node/dataplane/content-scanners.ts";
import { DIALECTS } from "../../node/dataplane/dialects/registry.ts";
import { type BodyInspection, inspectBody } from "../../node/dataplane/inspect-body.ts";
import type { InspectTask } from "../../node/dataplane/inspect-worker.ts";
import type { ContentRule } from "../../policy/compiled-policy.ts";
import { type Compute, ComputeFault } from "../../ports/compute.ts";
import type { Draw } from "./draw.ts";
import type { SimProcess } from "./sim-process.ts";

const USUAL_MS = 8;
const HUNG_SHARE = 0.02;
/** What warms a worker up before there are requests is given longer. */
const WARM_UP_MS = 10_000;

/** The inspect pool, in this thread: takes its time, and now and then all of it. */
export function simCompute(process: SimProcess, draw: Draw): Compute<InspectTask, BodyInspection> {
  return {
    run: (task, deadlineMs) =>
      new Promise((resolve, reject) => {
        if (deadlineMs < WARM_UP_MS && draw.chance(HUNG_SHARE)) {
          process.clock.after(deadlineMs, () => reject(new ComputeFault("deadline", "hung")));
        } else process.clock.after(draw.unit() * USUAL_MS, () => resolve(inspected(task)));
      }),
    close: async () => undefined,
  };
}

function inspected({ bytes, dialect: name, routeId, rules, depthMax }: InspectTask) {
  const dialect = DIALECTS[name];
  const route = dialect.routes.find(({ id }) => id === routeId);
  if (route === undefined) throw new Error(`no route ${routeId} in ${name}`);
  const { request: set } = compileContentNow(JSON.parse(rules) as ContentRule[]);
  return inspectBody(bytes, { dialect, route, set, depthMax, pastDeadline: () => false });
}
