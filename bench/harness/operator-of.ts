import type { Mesh } from "../../test/support/start-mesh.ts";
import { Operator } from "./operator.ts";

/** The operator of a mesh whose members are processes; nodes are asked through the first of them. */
export function operatorOf({ coordinator, nodes }: Pick<Mesh, "coordinator" | "nodes">): Operator {
  const { home } = coordinator;
  const node = `unix:${nodes[0]?.home}/node.sock`;
  return new Operator({ home, grpc: { coordinator: `unix:${home}/coordinator.sock`, node } });
}
