import { isStrictlyLess, meet } from "../../authority/authority.ts";
import { AUTHORITY, halved } from "../../test/support/contract-forge.ts";
import { type CostBeside, costBeside } from "./cost-of.ts";

/** Both in seven dimensions: is one strictly less than the other, and what have they in common. */
export function latticeCost(): CostBeside {
  const less = halved(AUTHORITY);
  return costBeside(() => {
    if (!isStrictlyLess(less, AUTHORITY)) throw new Error("the sample is not less");
    return meet(AUTHORITY, less).budget.calls;
  });
}
