import { pause } from "./operator.ts";

const SLICE_MS = 10;

/**
 * Sends so many a second, each when it is due and whether those before have their answers or not; resolves when
 * all have. Slices are short, so what is late by some milliseconds comes with the next.
 */
export async function atPace(
  of: { readonly perSecond: number; readonly count: number },
  send: (no: number) => Promise<void>,
): Promise<void> {
  const startedMs = performance.now();
  const sending: Promise<void>[] = [];
  while (sending.length < of.count) {
    const due = Math.ceil(((performance.now() - startedMs) * of.perSecond) / 1_000);
    while (sending.length < Math.min(due, of.count)) sending.push(send(sending.length));
    await pause(SLICE_MS);
  }
  await Promise.all(sending);
}
