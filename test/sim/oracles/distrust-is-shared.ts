import { distrustOf } from "../../../mesh/distrust-of.ts";
import { MODEL } from "../sim-policy.ts";
import type { Oracle } from "./oracle.ts";

const SCOPE = `distrust/openai/${MODEL}`;

export const distrustIsShared: Oracle = {
  name: "distrust-is-shared",
  rule: "What a node counts with for a model's price falls once for each time that an operator has set it, at most, and only rises otherwise; and once all is at rest every node counts with what the mesh's record says.",
  watch: ({ nodes, plane }) => {
    /** What each start of a node counted with when it was looked at last, and by whose word it fell. */
    const before = new Map<string, { readonly milli: number; readonly fellIn: bigint }>();
    return {
      look: () => {
        for (const { name, run } of nodes) {
          if (run === undefined) continue;
          const milli = run.loop.controlLink.distrustMilli(`openai/${MODEL}`);
          const era = distrustOf(run.replica.state.get(SCOPE)?.op)?.era ?? 0n;
          const { milli: last = 0, fellIn = 0n } = before.get(run.bootId) ?? {};
          const hasFallen = milli < last;
          before.set(run.bootId, { milli, fellIn: hasFallen ? era : fellIn });
          if (!hasFallen || era > fellIn) continue;
          return `${name} went from ${last} to ${milli} in era ${era}`;
        }
        return undefined;
      },
      atEnd: () => {
        const learnt = nodes.map(({ run }) =>
          run?.loop.controlLink.distrustMilli(`openai/${MODEL}`),
        );
        const said = distrustOf(plane.founder.parts?.replica.state.get(SCOPE)?.op)?.milli ?? 0n;
        if (learnt.every((milli) => milli === Number(said))) return undefined;
        return `nodes count with ${learnt.join(", ")}, the record says ${said}`;
      },
    };
  },
};
