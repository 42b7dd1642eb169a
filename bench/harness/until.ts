import { pause } from "./operator.ts";

const LOOK_EVERY_MS = 5;

/** Waits until something is so, or the time is over; whoever asks looks which. */
export async function until(isSo: () => boolean, timeoutMs: number): Promise<void> {
  const deadlineMs = Date.now() + timeoutMs;
  while (!isSo() && Date.now() < deadlineMs) await pause(LOOK_EVERY_MS);
}
