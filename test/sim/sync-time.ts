import type { Draw } from "./draw.ts";

/** Of a disk that others use as well, and of one that they keep busy. */
export const SLOW_SYNCS = { usual: 0.03, busy: 0.6 } as const;

/** A sync takes milliseconds, and this share of them, on a disk that others use as well, far longer. */
export function syncMs(draw: Draw, slow: number = SLOW_SYNCS.usual): number {
  return draw.chance(slow) ? draw.between(10, 400) : draw.between(0.2, 5);
}
