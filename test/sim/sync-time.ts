import type { Draw } from "./draw.ts";

/** A sync takes milliseconds, and now and then, on a disk that others use as well, far longer. */
export function syncMs(draw: Draw): number {
  return draw.chance(0.03) ? draw.between(10, 400) : draw.between(0.2, 5);
}
