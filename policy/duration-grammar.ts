/** Durations as people write them: `250ms`, `90s`, `15m`, `24h`. */

export const DURATION_GRAMMAR = 'a duration such as "250ms", "90s", "15m" or "24h"';

const UNIT_MS = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;
const DURATION = /^(0|[1-9][0-9]{0,11})(ms|s|m|h)$/;

/** Milliseconds; `undefined` when it is no duration. */
export function parseDurationMs(text: string): number | undefined {
  const match = DURATION.exec(text);
  if (match === null) return undefined;
  return Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS];
}

/** Writes a duration in the largest unit that has no fraction. */
export function formatDurationMs(durationMs: number): string {
  for (const [unit, ms] of Object.entries(UNIT_MS)) {
    if (durationMs % ms === 0 && durationMs >= ms) return `${durationMs / ms}${unit}`;
  }
  return "0s";
}
