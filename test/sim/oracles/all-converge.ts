import type { Oracle } from "./oracle.ts";

export const allConverge: Oracle = {
  name: "all-converge",
  rule: "Once all faults are over, one coordinator of those that are not removed leads the ledger, all have one state, and every node is open and has it (K1, K2, I9).",
  watch: ({ nodes, plane }) => ({
    atEnd: () => {
      const wanted = plane.founder.parts?.replica.state.hashHex();
      for (const { name, parts } of plane.members) {
        if (parts === undefined) return `${name} is not up`;
        if (parts.replica.state.hashHex() !== wanted) return `${name} has another state`;
      }
      const leading = plane.members.filter(({ parts }) => parts?.ledger.isLed);
      if (leading.length !== 1) return `${leading.length} coordinators lead the ledger`;
      for (const { name, run } of nodes) {
        if (run === undefined) return `${name} is not up`;
        if (run.replica.state.hashHex() !== wanted) return `${name} has another state`;
        const { closedBecause } = run.replica.status();
        if (closedBecause.length > 0) return `${name} is closed: ${closedBecause.join(", ")}`;
      }
      return undefined;
    },
  }),
};
