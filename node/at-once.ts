/**
 * What mostly is there at once and sometimes comes later.
 *
 * An async function costs its caller some hundred bytes and a turn of the queue even where it waits for
 * nothing, and a request passes through a dozen functions that hardly ever do.
 */
export type AtOnce<T> = T | Promise<T>;

/** Goes on with a value: now if it is there, else when it has come. */
export function andThen<T, R>(value: AtOnce<T>, fn: (value: T) => AtOnce<R>): AtOnce<R> {
  return value instanceof Promise ? value.then(fn) : fn(value);
}
