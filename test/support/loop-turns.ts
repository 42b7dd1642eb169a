/**
 * How many turns the event loop took until `work` was done. Turns, and not ticks of a timer: how much fits into a
 * millisecond is the machine's.
 */
export async function turnsDuring<T>(
  work: Promise<T>,
): Promise<{ readonly turns: number; readonly result: T }> {
  let turns = 0;
  let isRunning = true;
  const count = () => {
    turns += 1;
    if (isRunning) setImmediate(count);
  };
  setImmediate(count);
  const result = await work;
  isRunning = false;
  return { turns, result };
}
