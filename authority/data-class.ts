import type { Dimension } from "./dimension.ts";
import { isStrictlySorted } from "./strictly-sorted.ts";

/**
 * The data that may be handled: everything up to a level whose labels are all among the
 * compartments, under the classification that `scheme` names.
 */
export type DataClass = {
  readonly scheme: string;
  /** Index into the scheme's levels, lowest first; -1 is below all of them. */
  readonly level: number;
  readonly compartments: readonly string[];
};

/** No data at all. Contracts cannot say it; it is what two schemes have in common. */
const NOTHING: DataClass = { scheme: "", level: -1, compartments: [] };

/**
 * The lattice of levels and compartments. Levels of two schemes cannot be compared, so there neither
 * is below the other.
 *
 * @see https://csrc.nist.gov/publications/history/bell76.pdf
 */
export const dataClass: Dimension<DataClass> = {
  normal: ({ scheme, level, compartments: some }) => {
    if (level < 0) return NOTHING;
    return {
      scheme,
      level,
      compartments: isStrictlySorted(some) ? some : [...new Set(some)].sort(),
    };
  },
  leq: (child, parent) => {
    if (child.level < 0) return true;
    return (
      child.scheme === parent.scheme &&
      child.level <= parent.level &&
      child.compartments.every((one) => parent.compartments.includes(one))
    );
  },
  meet: (one, other) => {
    if (one.scheme !== other.scheme || one.level < 0 || other.level < 0) return NOTHING;
    return {
      scheme: one.scheme,
      level: Math.min(one.level, other.level),
      compartments: one.compartments.filter((each) => other.compartments.includes(each)),
    };
  },
};

/** True when data of that class, under that scheme, may be handled. */
export function classClears(granted: DataClass, data: DataClass): boolean {
  // The order of compartments and their number do not matter here, so nothing has to be made normal.
  return data.level >= 0 && dataClass.leq(data, granted);
}
