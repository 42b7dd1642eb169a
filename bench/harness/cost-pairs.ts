import type { Figure } from "./bench.ts";
import { judgePairs, median, type Pair } from "./paired.ts";

/**
 * What a subject costs beside its baseline: their ratio in processor time, judged pair by pair, and the
 * median microseconds of each.
 *
 * @param names Of the two, as figures say them: `<name>_cpu_us`.
 * @param limit The ratio that must not be passed; NaN where there is none.
 */
export function costFigures(
  pairs: readonly Pair[],
  names: { readonly subject: string; readonly baseline: string },
  limit = Number.NaN,
): readonly Figure[] {
  const verdict = judgePairs(pairs, limit);
  const us = (side: keyof Pair): Figure => ({
    name: `${names[side]}_cpu_us`,
    value: median(pairs.map((pair) => pair[side])),
    unit: "us",
  });
  return [
    { name: "cpu_ratio", value: verdict.median, unit: "x", pairs: verdict },
    us("subject"),
    us("baseline"),
  ];
}
