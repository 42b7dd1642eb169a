import type { WorldSize } from "./world.ts";

/** Small ones are quick, and large ones see what needs time or company. */
export const SIZES = {
  small: { nodesMax: 3, agentsMax: 4, faultsMs: 15_000 },
  large: { nodesMax: 5, agentsMax: 12, faultsMs: 90_000 },
} as const satisfies Record<string, WorldSize>;
