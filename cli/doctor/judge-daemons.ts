import type { NodeState } from "../../proto/gen/altrace/v1/coordinator_service_pb.ts";
import type { GetNodeResponse } from "../../proto/gen/altrace/v1/node_service_pb.ts";
import { REASONS, type Reason } from "../../proto/reasons.ts";
import { type Finding, fail, ok, skip, warn } from "./finding.ts";

const REMEDIES: Readonly<Record<string, string>> = {
  mesh_stale: "see that a coordinator runs and that NATS is reached; the node opens by itself",
  boot_ended:
    "another process has started as this node since: end the one that should not be, then restart the other",
  policy_missing: "altrace policy apply <file>",
  audit_unavailable:
    "free space on HOME's disk, or repair it; then the node opens by itself, and after a failed sync when restarted",
};

/** @param node A text: why it does not answer. Undefined: none has run in this HOME. */
export function judgeNode(node: GetNodeResponse | string | undefined): readonly Finding[] {
  if (node === undefined) return [skip("node", "none has run in this HOME")];
  if (typeof node === "string") {
    return [
      fail("node", `it does not answer: ${node}`, "start it; what it says first names the cause"),
    ];
  }
  if (node.open) {
    const digest = `digest ${(Number(node.digestAgeMs) / 1_000).toFixed(1)} s old`;
    return [ok("node", `${node.node} is open, policy ${node.policyVersion}, ${digest}`)];
  }
  return node.closedBecause.map((reason) =>
    fail(
      "node",
      `${node.node} is closed: ${sentenceOf(reason)}`,
      REMEDIES[reason] ?? `look up ${reason} in docs/reasons.md`,
    ),
  );
}

/** @param nodes A text: why the coordinator does not answer. Undefined: none has run in this HOME. */
export function judgeMesh(nodes: readonly NodeState[] | string | undefined): readonly Finding[] {
  if (nodes === undefined) return [skip("coordinator", "none has run in this HOME")];
  if (typeof nodes === "string") {
    return [
      fail("coordinator", `it does not answer: ${nodes}`, "start it: nodes close without one"),
    ];
  }
  const silent = nodes.filter(({ live }) => !live);
  const closed = nodes.filter(({ live, open }) => live && !open);
  const behind = nodes.filter(({ live, inSync }) => live && !inSync);
  const names = (of: readonly NodeState[]) => of.map(({ node }) => node).join(", ");
  return [
    ok("coordinator", `it answers, and knows ${nodes.length} node(s)`),
    ...(silent.length === 0
      ? []
      : [
          warn(
            "mesh",
            `not heard: ${names(silent)}`,
            "look at those machines; what is gone for good an operator removes",
          ),
        ]),
    ...(closed.length === 0
      ? []
      : [warn("mesh", `closed: ${names(closed)}`, "run altrace doctor there: it says why")]),
    ...(behind.length === 0
      ? []
      : [
          warn(
            "mesh",
            `behind in records: ${names(behind)}`,
            "wait for a heartbeat; if it stays so, look at their log",
          ),
        ]),
  ];
}

function sentenceOf(reason: string): string {
  return Object.hasOwn(REASONS, reason) ? REASONS[reason as Reason].operator : reason;
}
