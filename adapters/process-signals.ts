/**
 * Resolves at the first of these signals, which no longer ends the process by itself. Each of them is taken once: the
 * same signal a second time ends the process as ever.
 */
export function untilSignal(...signals: readonly NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of signals) process.once(signal, () => resolve(signal));
  });
}
