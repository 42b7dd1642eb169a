/**
 * A function of a module that is loaded when it is first called.
 *
 * @param load - Imports the module; the engine keeps it from then on.
 * @param pick - The function in it.
 */
export function lazily<Its, Args extends unknown[]>(
  load: () => Promise<Its>,
  pick: (its: Its) => (...args: Args) => void | Promise<void>,
): (...args: Args) => Promise<void> {
  return async (...args) => pick(await load())(...args);
}
