/** What a body of one size costs a loop, microseconds of its processor, read there or handed to the pool. */
export type SizeCost = {
  readonly bytes: number;
  readonly inlineMicros: number;
  readonly handedMicros: number;
};

/**
 * The size from which on handing over is cheaper for the loop, bytes, on the straight line between the two
 * sizes measured around it.
 *
 * @param costs By size, the smallest first.
 * @returns The smallest size where handing over always was, and infinity where it never is.
 */
export function breakEven(costs: readonly SizeCost[]): number {
  const lastInline = costs.findLastIndex((one) => one.inlineMicros < one.handedMicros);
  const below = costs[lastInline];
  const above = costs[lastInline + 1];
  if (above === undefined) return Number.POSITIVE_INFINITY;
  if (below === undefined) return above.bytes;
  const gap = ({ inlineMicros, handedMicros }: SizeCost) => inlineMicros - handedMicros;
  const part = gap(below) / (gap(below) - gap(above));
  return below.bytes + part * (above.bytes - below.bytes);
}
