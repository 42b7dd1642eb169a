import type { KernelFault } from "../proto/kernel-faults.ts";
import type { NodeParts } from "./app.ts";
import type { AuditLog } from "./audit-log.ts";
import { KernelWatch } from "./kernel-watch.ts";
import type { MeshThreadLink } from "./mesh-thread-link.ts";
import { NO_PLACEMENT, openPlacementFile, type Placement } from "./placement-file.ts";

/** What a node knows of the machine that it is on. */
export type MachineWatch = {
  readonly placement: Placement;
  /** What is wrong with its kernel layer; undefined where none is to be there. */
  kernelFaults(): readonly KernelFault[] | undefined;
  stop(): void;
};

/** To be opened before the mesh thread can have heard anything of the enforcer. */
export function openMachineWatch(
  parts: NodeParts,
  { append }: AuditLog,
  mesh: MeshThreadLink,
): MachineWatch {
  const { config, clock, log } = parts;
  const placement = placementOf(parts);
  if (config.gateSocket === undefined)
    return { placement, kernelFaults: () => undefined, stop: () => undefined };
  const watch = new KernelWatch({ node: config.nodeId, clock, append, onChange: log.kernel });
  mesh.onMessage((message) => {
    if (message.t === "kernel") watch.note(message.faults);
  });
  return { placement, kernelFaults: () => watch.faults, stop: () => watch.stop() };
}

function placementOf({ config, clock, log }: NodeParts): Placement {
  const { podsFile: path } = config;
  if (path === undefined) return NO_PLACEMENT;
  const onProblem = (why: string) => log.fault("pods", new Error(why));
  return openPlacementFile({ path, clock, onProblem });
}
