import type { MeshRecord } from "../../../mesh/record.ts";
import { MODEL } from "../sim-policy.ts";
import type { Oracle } from "./oracle.ts";

export const distrustIsShared: Oracle = {
  name: "distrust-is-shared",
  rule: "Once all is at rest, what one node has learnt from a bill above its hold every node counts with, and the mesh's record says it.",
  watch: ({ nodes, coordinator }) => ({
    atEnd: () => {
      const learnt = nodes.map(({ run }) => run?.loop.controlLink.distrustMilli(`openai/${MODEL}`));
      const said = recordedMilli(coordinator.parts?.replica.state.get(`distrust/openai/${MODEL}`));
      if (learnt.every((milli) => milli === said)) return undefined;
      return `nodes count with ${learnt.join(", ")}, the record says ${said}`;
    },
  }),
};

function recordedMilli(record: MeshRecord | undefined): number {
  const of = record?.op.case === "limit" ? record.op.value.of : undefined;
  return of?.case === "distrust" ? Number(of.value.milli) : 0;
}
