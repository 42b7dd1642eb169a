const SLICE_MS = 1_000;

/**
 * Asks until so many were answered, or the time for that is over, so that a program is measured as it is
 * after an hour: what an engine compiles while it runs costs several times as much in the first seconds.
 *
 * @param ask For so many milliseconds; returns how many were answered.
 * @returns How many were answered in all.
 */
export async function askedAtLeast(
  { count, msMax }: { readonly count: number; readonly msMax: number },
  ask: (ms: number) => Promise<number>,
): Promise<number> {
  let asked = 0;
  for (let ms = 0; asked < count && ms < msMax; ms += SLICE_MS) asked += await ask(SLICE_MS);
  return asked;
}
