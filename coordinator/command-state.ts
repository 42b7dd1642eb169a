import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CommandStateSchema } from "../proto/gen/altrace/v1/coordinator_service_pb.ts";
import type { Command } from "./command.ts";
import type { Registry } from "./registry.ts";

/** How far a command got, as operators see it. */
export function commandState(
  command: Command,
  registry: Pick<Registry, "progress" | "isDone">,
): MessageInitShape<typeof CommandStateSchema> {
  const nodes = registry.progress(command);
  const acks = nodes.flatMap(({ ack }) => (ack && ack.refused === "" ? [ack] : []));
  return {
    cmdId: command.cmdId,
    scope: command.scope,
    v: BigInt(command.v),
    accepted: command.accepted,
    committed: command.committed,
    nodesTotal: nodes.length,
    nodesEnforced: acks.length,
    nodesDurable: acks.filter(({ durable }) => durable).length,
    nodesClosed: acks.filter(({ closed }) => closed).length,
    nodesContained: nodes.filter(({ isContained }) => isContained).length,
    nodes: nodes.map(({ node, ack, containedAtMs, isContained }) => ({
      node,
      ...(ack ? { ack } : {}),
      containedAtMs: BigInt(containedAtMs),
      contained: isContained,
    })),
    done: registry.isDone(command),
  };
}
