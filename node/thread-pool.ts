/** Threads that libuv needs so that file work of one part does not hold up another's. */
export const THREAD_POOL_SIZE = 16;

export class ThreadPoolError extends Error {}

/**
 * Refuses to run on a libuv pool that is too small: one pool serves the whole process, and four busy
 * jobs in the default one would hold up everything else that waits for a file.
 *
 * @param setting UV_THREADPOOL_SIZE as the process was started with; it is read once, by libuv.
 */
export function checkThreadPool(setting: string | undefined): void {
  const size = Number(setting ?? 4);
  if (size >= THREAD_POOL_SIZE) return;
  throw new ThreadPoolError(
    `UV_THREADPOOL_SIZE is ${setting ?? "not set"}; start the process with at least ${THREAD_POOL_SIZE}`,
  );
}
