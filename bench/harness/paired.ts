/** Two measurements of one moment: the thing judged and what it is compared with. */
export type Pair = { readonly subject: number; readonly baseline: number };

export type PairedVerdict = {
  /** Of what the pairs were compared by: subject / baseline, or what it says. */
  readonly median: number;
  readonly ratios: readonly number[];
  /** Pairs whose ratio is over the limit. */
  readonly over: number;
  /** The median is over the limit, and so are four of five pairs: not one bad minute's doing. */
  readonly isBreach: boolean;
};

export type Range = { readonly least: number; readonly most: number };

export const PAIRS_MIN = 5;
const OVER_SHARE = 0.8;

/**
 * Measures subject and baseline in turn: A B A B. A machine that is shared drifts by the minute, and
 * only neighbours in time can be compared.
 */
export async function interleave(
  count: number,
  measure: { readonly subject: () => Promise<number>; readonly baseline: () => Promise<number> },
): Promise<readonly Pair[]> {
  const pairs: Pair[] = [];
  for (let i = 0; i < count; i += 1) {
    const subject = await measure.subject();
    pairs.push({ subject, baseline: await measure.baseline() });
  }
  return pairs;
}

/**
 * Judges the ratios of pairs against a limit.
 *
 * @throws RangeError Fewer than `PAIRS_MIN` pairs, or a figure that is not above zero: nothing was
 *   measured, and nothing measured must not pass.
 */
export function judgePairs(pairs: readonly Pair[], limit: number): PairedVerdict {
  const ratios = pairs.map(({ subject, baseline }) => {
    if (!(subject > 0) || !(baseline > 0)) throw new RangeError(`${subject} / ${baseline}`);
    return subject / baseline;
  });
  return judge(ratios, limit);
}

/**
 * The same of what was compared otherwise, such as a difference.
 *
 * @throws RangeError Fewer than `PAIRS_MIN`, or one that is no number.
 */
export function judge(ratios: readonly number[], limit: number): PairedVerdict {
  if (ratios.length < PAIRS_MIN || ratios.some(Number.isNaN)) {
    throw new RangeError(`${ratios.join(", ")} are no measurement`);
  }
  const over = ratios.filter((ratio) => ratio > limit).length;
  const middle = median(ratios);
  const isBreach = middle > limit && over >= OVER_SHARE * ratios.length;
  return { median: middle, ratios, over, isBreach };
}

/** The middle value; of an even number, the mean of the middle two. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("the median of nothing");
  const sorted = values.toSorted((left, right) => left - right);
  const upper = sorted[sorted.length >> 1] as number;
  if (sorted.length % 2 === 1) return upper;
  return (upper + (sorted[(sorted.length >> 1) - 1] as number)) / 2;
}

export function rangeOf(values: readonly number[]): Range {
  return { least: Math.min(...values), most: Math.max(...values) };
}

/** As a cell of a table or in a line: `89 (85 to 93)`, or with a unit `89 us (85 to 93)`. */
export function medianAndRange(values: readonly number[], digits = 0, unit = ""): string {
  const { least, most } = rangeOf(values);
  const middle = `${median(values).toFixed(digits)}${unit === "" ? "" : ` ${unit}`}`;
  return `${middle} (${least.toFixed(digits)} to ${most.toFixed(digits)})`;
}
