import { type Budget, budget } from "./budget.ts";
import { type DataClass, dataClass } from "./data-class.ts";
import { type Geography, geography } from "./geography.ts";
import { type Models, models } from "./models.ts";
import { type Rate, rate } from "./rate.ts";
import { type Tools, tools } from "./tools.ts";
import { hoursLeq, type Validity, validity } from "./validity.ts";

// What may be done, in seven dimensions, and how two such grants compare.
//
// S1. `leq` holds when it holds in all seven dimensions.
// S2. `isStrictlyLess` further asks that one dimension differs, and the dates alone are none: a
//     contract that ends a second before its parent has given nothing up.
// S3. `meet` grants what both grant. A request is put to the meet of a whole chain, so a link that is
//     wider than it should be adds nothing even where it was let in.

/** Authority in its seven dimensions, each in normal form. */
export type Authority = {
  readonly budget: Budget;
  readonly models: Models;
  readonly tools: Tools;
  readonly dataClass: DataClass;
  readonly validity: Validity;
  readonly rate: Rate;
  readonly geography: Geography;
};

export type DimensionName = keyof Authority;

/** In the order in which a refusal names the first that is too wide. */
export const DIMENSION_NAMES = [
  "budget",
  "models",
  "tools",
  "dataClass",
  "validity",
  "rate",
  "geography",
] as const satisfies readonly DimensionName[];

const COMPARE: { readonly [D in DimensionName]: (c: Authority, p: Authority) => boolean } = {
  budget: (c, p) => budget.leq(c.budget, p.budget),
  models: (c, p) => models.leq(c.models, p.models),
  tools: (c, p) => tools.leq(c.tools, p.tools),
  dataClass: (c, p) => dataClass.leq(c.dataClass, p.dataClass),
  validity: (c, p) => validity.leq(c.validity, p.validity),
  rate: (c, p) => rate.leq(c.rate, p.rate),
  geography: (c, p) => geography.leq(c.geography, p.geography),
};

export function normalAuthority(value: Authority): Authority {
  return {
    budget: budget.normal(value.budget),
    models: models.normal(value.models),
    tools: tools.normal(value.tools),
    dataClass: dataClass.normal(value.dataClass),
    validity: validity.normal(value.validity),
    rate: rate.normal(value.rate),
    geography: geography.normal(value.geography),
  };
}

/** The first dimension in which `child` grants what `parent` does not; `undefined`: it is below. */
export function widerDimension(child: Authority, parent: Authority): DimensionName | undefined {
  return DIMENSION_NAMES.find((name) => !COMPARE[name](child, parent));
}

export function leq(child: Authority, parent: Authority): boolean {
  return widerDimension(child, parent) === undefined;
}

/** S2: below in all dimensions, and less in at least one that counts. */
export function isStrictlyLess(child: Authority, parent: Authority): boolean {
  return leq(child, parent) && isNarrower(child, parent);
}

/** S2, of a child that is known to be below: less in at least one dimension that counts. */
export function isNarrower(child: Authority, parent: Authority): boolean {
  return DIMENSION_NAMES.some((name) => isLess(name, child, parent));
}

/** S3. */
export function meet(one: Authority, other: Authority): Authority {
  return {
    budget: budget.meet(one.budget, other.budget),
    models: models.meet(one.models, other.models),
    tools: tools.meet(one.tools, other.tools),
    dataClass: dataClass.meet(one.dataClass, other.dataClass),
    validity: validity.meet(one.validity, other.validity),
    rate: rate.meet(one.rate, other.rate),
    geography: geography.meet(one.geography, other.geography),
  };
}

/** By antisymmetry a dimension that is below and differs is one whose converse fails. */
function isLess(name: DimensionName, child: Authority, parent: Authority): boolean {
  if (name === "validity") return !hoursLeq(parent.validity.hours, child.validity.hours);
  return !COMPARE[name](parent, child);
}
