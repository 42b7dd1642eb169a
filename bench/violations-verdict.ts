/** One thing that was told, and when it was there. */
export type Told = { readonly key: string; readonly atMs: number };

export type Delivery = {
  /** Milliseconds from the record to whoever was to hear of it: one for each that was told. */
  readonly tookMs: readonly number[];
  /** To be told, and never was. */
  readonly lost: readonly string[];
  /** Told again. */
  readonly twice: readonly string[];
  /** Told to whom it was no business of. */
  readonly unasked: readonly string[];
};

/**
 * Compares what was to be told with what was.
 *
 * @param wanted When the record of each was made, ms since the Unix epoch.
 * @param told In the order in which it came, by the same clock.
 */
export function judgeDelivery(
  wanted: ReadonlyMap<string, number>,
  told: readonly Told[],
): Delivery {
  const seen = new Set<string>();
  const tookMs: number[] = [];
  const twice: string[] = [];
  const unasked: string[] = [];
  for (const { key, atMs } of told) {
    const recordedMs = wanted.get(key);
    if (recordedMs === undefined) unasked.push(key);
    else if (seen.has(key)) twice.push(key);
    else {
      seen.add(key);
      // The record's time is in whole milliseconds, cut down, so this errs to the slow side.
      tookMs.push(Math.max(0, atMs - recordedMs));
    }
  }
  return { tookMs, twice, unasked, lost: [...wanted.keys()].filter((key) => !seen.has(key)) };
}

/** What counts how often, by key, where the two differ: all that was told is to add up. */
export function miscounted(
  wanted: readonly string[],
  told: readonly { readonly key: string; readonly count: number }[],
): readonly string[] {
  const left = new Map<string, number>();
  for (const key of wanted) left.set(key, (left.get(key) ?? 0) + 1);
  for (const { key, count } of told) left.set(key, (left.get(key) ?? 0) - count);
  return [...left].filter(([, count]) => count !== 0).map(([key]) => key);
}
