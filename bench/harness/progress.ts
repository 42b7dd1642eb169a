const startedMs = performance.now();

/** Says on standard error what is going on; results alone go to standard output. */
export function tellProgress(text: string): void {
  const seconds = ((performance.now() - startedMs) / 1_000).toFixed(0).padStart(4);
  process.stderr.write(`${seconds} s  ${text}\n`);
}
