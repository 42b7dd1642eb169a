import type { NodeState } from "../proto/gen/altrace/v1/coordinator_service_pb.ts";

/** How far the nodes are with one version of the policy. */
export type PolicyProgress = {
  /** Nodes where it, or a newer one, decides. */
  readonly inForce: readonly string[];
  /** Nodes that could not put it in force, and why: the policy before it stays there. */
  readonly refused: readonly { readonly node: string; readonly why: string }[];
  /** Nodes that have not said. A silent one is closed by its dead-man switch, so nobody waits for it. */
  readonly waiting: readonly string[];
};

/** What the nodes said last of version `v`. */
export function policyProgress(nodes: readonly NodeState[], v: bigint): PolicyProgress {
  const inForce: string[] = [];
  const refused: { node: string; why: string }[] = [];
  const waiting: string[] = [];
  for (const { node, live, policyVersion, policyRefusedVersion, policyRefused } of nodes) {
    if (policyVersion >= v) inForce.push(node);
    else if (policyRefusedVersion >= v) refused.push({ node, why: policyRefused });
    else if (live) waiting.push(node);
  }
  return { inForce, refused, waiting };
}

/** One line on all, and one for each node that refused. */
export function policyLines({ inForce, refused, waiting }: PolicyProgress): readonly string[] {
  const count = inForce.length + refused.length + waiting.length;
  return [
    `in force ${inForce.length}/${count}`,
    ...refused.map(({ node, why }) => `  ${node} keeps the policy before it: ${why}`),
    ...waiting.map((node) => `  ${node} has not said yet`),
  ];
}
