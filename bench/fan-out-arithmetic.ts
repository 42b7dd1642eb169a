/** What was measured at the largest size, from which the rest is multiplied. */
export type MeasuredSize = {
  readonly nodes: number;
  /** Milliseconds of the server's processor time. */
  readonly killCpuMs: number;
  /** The same for a bare broadcast that everybody answers once: two messages a node. */
  readonly bareCpuMs: number;
  /** Messages in which one node acknowledges one kill. */
  readonly acksPerNode: number;
};

const COORDINATORS = 3;
const DIGESTS_PER_SECOND = 1;
const HEARTBEATS_PER_SECOND = 0.5;
/** Of an Ed25519 signature in Node: what a coordinator does for each ack. */
const VERIFY_US = 96;
/** Nodes of one leaf server, as many as were measured on one. */
const LEAF_NODES = 1_000;

/**
 * Sentences on meshes that no machine here can carry. They assume that the server's cost grows with
 * the messages and with nothing else; so a mesh too small for one leaf server says nothing.
 */
export function largerMeshes(of: MeasuredSize, sizes: readonly number[]): readonly string[] {
  if (of.nodes < LEAF_NODES) return [];
  return sizes.map((nodes) => sentenceFor(of, nodes));
}

function sentenceFor(of: MeasuredSize, nodes: number): string {
  const { nodes: measured, killCpuMs, bareCpuMs, acksPerNode } = of;
  const messageUs = (bareCpuMs * 1_000) / (2 * measured);
  const digests = nodes * COORDINATORS * DIGESTS_PER_SECOND;
  // In once, and out to every coordinator.
  const heartbeats = nodes * HEARTBEATS_PER_SECOND * (1 + COORDINATORS);
  const idleCores = ((digests + heartbeats) * messageUs) / 1e6;
  const killMs = (killCpuMs / measured) * nodes;
  const leaves = Math.ceil(nodes / LEAF_NODES);
  const verifySeconds = (nodes * acksPerNode * VERIFY_US) / 1e6;
  const figure = (value: number) => Number(value.toPrecision(2)).toLocaleString("en");
  return (
    `ARITHMETIC, not measured, for ${nodes.toLocaleString("en")} nodes at ${figure(messageUs)} us of the ` +
    `server's processor time a message: a kill ${figure(killMs)} ms in all; digests of ${COORDINATORS} ` +
    `coordinators and heartbeats ${figure(idleCores)} cores in all. On ${leaves} leaf servers of ` +
    `${LEAF_NODES.toLocaleString("en")} nodes each: a kill ${figure(killMs / leaves)} ms and ` +
    `${figure(idleCores / leaves)} cores on each, and the hub says it ${leaves} times. Each coordinator ` +
    `verifies ${figure(acksPerNode)} acks a node at ${VERIFY_US} us: ${figure(verifySeconds)} s of processor time until the last is counted.`
  );
}
