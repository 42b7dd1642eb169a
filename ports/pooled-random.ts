import type { Random } from "./random.ts";

const POOL_BYTES = 4_096;

/**
 * Random bytes for names that are drawn with every request, taken from the system in larger pieces:
 * asking it costs microseconds whatever the amount. Each byte is handed out once. Not for secrets,
 * which must not lie in memory before they are used.
 */
export function pooledRandom(random: Random): Random {
  let pool = random.bytes(POOL_BYTES);
  let used = 0;
  return {
    bytes(count) {
      if (count > POOL_BYTES) return random.bytes(count);
      if (used + count > POOL_BYTES) {
        pool = random.bytes(POOL_BYTES);
        used = 0;
      }
      used += count;
      return pool.subarray(used - count, used);
    },
  };
}
