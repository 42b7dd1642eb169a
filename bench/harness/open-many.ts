import { pause } from "./operator.ts";

const OPEN_AT_ONCE = 50;
const ATTEMPTS_MAX = 20;
const RETRY_MS = 250;

/** Opens so many of something, some at a time. */
export async function openMany<T>(
  count: number,
  open: (index: number) => Promise<T>,
): Promise<T[]> {
  const all: T[] = [];
  while (all.length < count) {
    const from = all.length;
    const some = Array.from({ length: Math.min(OPEN_AT_ONCE, count - from) }, (_, i) =>
      openOne(() => open(from + i)),
    );
    all.push(...(await Promise.all(some)));
  }
  return all;
}

/** Tries again while the node is too busy to say yes; only what happens to what is open is measured. */
async function openOne<T>(open: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await open();
    } catch (error) {
      if (attempt === ATTEMPTS_MAX) throw error;
      await pause(RETRY_MS);
    }
  }
}
