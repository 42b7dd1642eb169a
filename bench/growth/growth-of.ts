import type { Budget, Figure } from "../harness/bench.ts";
import { judgePairs, median } from "../harness/paired.ts";
import type { Point } from "./measure-axis.ts";

/**
 * The last point over the cheapest one before it: the first may be dear because a node that was just started
 * is. Each side is a ratio already, so that minutes that lie apart can be compared.
 */
export function growthOf(
  name: string,
  points: readonly Pick<Point, "pairs">[],
  budget: Budget,
): Figure {
  const ratios = points.map((point) => point.pairs.map((one) => one.subject / one.baseline));
  const last = ratios.pop();
  const [cheapest] = ratios.toSorted((one, other) => median(one) - median(other));
  if (last === undefined || cheapest === undefined) throw new Error(`${name} has no two points`);
  const pairs = last.map((subject, i) => ({ subject, baseline: cheapest[i] ?? Number.NaN }));
  const figure = `${name}_growth`;
  const verdict = judgePairs(pairs, budget[figure]?.must ?? Number.NaN);
  return { name: figure, value: verdict.median, unit: "x", pairs: verdict };
}
