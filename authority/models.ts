import type { Dimension } from "./dimension.ts";
import { isCovered, meetOfPatterns, normalPatterns } from "./name-pattern.ts";
import { isSameList } from "./strictly-sorted.ts";

/** Models that may be used, as patterns over `provider/model`. None is bottom. */
export type Models = readonly string[];

/**
 * A child's pattern must lie in **one** pattern of its parent: two that cover it only together do
 * not count, so that the order is decided pair by pair.
 */
export const models: Dimension<Models> = {
  normal: normalPatterns,
  leq: (child, parent) => child.every((one) => parent.some((other) => isCovered(one, other))),
  meet: (one, other) => {
    if (isSameList(one, other)) return one;
    return normalPatterns(one.flatMap((a) => other.flatMap((b) => meetOfPatterns(a, b) ?? [])));
  },
};
