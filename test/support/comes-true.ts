import { vi } from "vitest";

/** Far beyond what is waited for, so that a busy machine fails nothing: vitest's own limit is one second. */
const LIMIT_MS = 20_000;

/** Looks again and again until `look` does not throw, and resolves with what it gives. */
export function comesTrue<T>(look: () => T | Promise<T>, everyMs = 10): Promise<T> {
  return vi.waitFor(look, { timeout: LIMIT_MS, interval: everyMs });
}
