export type SliceBounds = { readonly min: number; readonly max: number };

/**
 * How much of a unit one lease gets.
 *
 * A share of what is left, so that the last of it spreads over the nodes; bounded on both sides, so
 * that a node neither asks too often nor hoards. `need` comes first: a slice below it helps nobody.
 *
 * @param available What can be lent. Integer.
 * @returns The amount, at least `need`; `undefined` when `need` does not fit.
 */
export function sliceOf(options: {
  readonly available: number;
  readonly need: number;
  readonly want: number;
  readonly activeNodes: number;
  readonly bounds: SliceBounds;
}): number | undefined {
  const { need, want, bounds } = options;
  const available = Math.max(0, options.available);
  if (need > available) return undefined;
  const share = Math.floor(available / (2 * Math.max(1, options.activeNodes)));
  const slice = Math.min(available, bounds.max, Math.max(bounds.min, share));
  return Math.max(need, Math.min(slice, want));
}
