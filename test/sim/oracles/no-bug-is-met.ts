import type { Oracle } from "./oracle.ts";

export const noBugIsMet: Oracle = {
  name: "no-bug-is-met",
  rule: "No part of the product meets a fault that is not the world's: a broken invariant, a corrupt book, an exception nobody expected.",
  watch: () => ({
    on: (event) => {
      if (event.t !== "bug") return undefined;
      const { where, error } = event;
      const text = error instanceof Error ? (error.stack ?? error.message) : JSON.stringify(error);
      return `${where}: ${text}`;
    },
  }),
};
