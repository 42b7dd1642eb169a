import type { Oracle } from "./oracle.ts";

export const allConverge: Oracle = {
  name: "all-converge",
  rule: "Once all faults are over, every node is open and has the coordinator's state (K1, K2).",
  watch: ({ nodes, coordinator }) => ({
    atEnd: () => {
      const wanted = coordinator.parts?.replica.state.hashHex();
      if (wanted === undefined) return "the coordinator is not up";
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
