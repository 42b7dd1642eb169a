import { readdirSync, readlinkSync } from "node:fs";
import { access } from "node:fs/promises";
import { getPriority, setPriority } from "node:os";

/** What the preferred thread is raised to, where the process may. */
const RAISED_NICENESS = -10;
/** By how much all others yield, where it may not. */
const LOWERED_BY = 4;
const NICENESS_MAX = 19;

/** How a thread came to be ahead of the process's others, and what its niceness is now. */
export type ThreadPriority = {
  readonly way: "raised" | "others_lowered" | "unchanged";
  readonly niceness: number;
};

/**
 * Has the scheduler prefer the calling thread to all others of this process.
 *
 * On Linux niceness belongs to a thread. Root, CAP_SYS_NICE or RLIMIT_NICE let it be raised; without
 * them the others yield to it. A thread takes after the one that starts it, so call this last: whatever
 * this thread starts later is as preferred as it is. Never rejects: it goes on as it was elsewhere.
 *
 * @see https://man7.org/linux/man-pages/man2/setpriority.2.html (C library/kernel differences)
 */
export async function preferThisThread(): Promise<ThreadPriority> {
  const own = ownThreadId();
  if (own === undefined) return { way: "unchanged", niceness: getPriority() };
  // The pool of libuv takes after whoever uses it first, and it is everybody's.
  await access("/").catch(() => undefined);
  const before = getPriority(own);
  if (set(own, Math.min(before, RAISED_NICENESS))) {
    return { way: "raised", niceness: getPriority(own) };
  }
  const niceness = Math.min(NICENESS_MAX, before + LOWERED_BY);
  const lowered = threadIds().filter((id) => id !== own && lower(id, niceness));
  return { way: lowered.length > 0 ? "others_lowered" : "unchanged", niceness: before };
}

function ownThreadId(): number | undefined {
  try {
    const id = Number(readlinkSync("/proc/thread-self").split("/").at(-1));
    return Number.isSafeInteger(id) && id > 0 ? id : undefined;
  } catch {
    return undefined;
  }
}

function threadIds(): readonly number[] {
  return readdirSync("/proc/self/task").map(Number);
}

/** One that yields more already is left alone. */
function lower(threadId: number, niceness: number): boolean {
  try {
    return getPriority(threadId) < niceness && set(threadId, niceness);
  } catch {
    return false;
  }
}

/** False: not permitted, or the thread has ended. */
function set(threadId: number, niceness: number): boolean {
  try {
    setPriority(threadId, niceness);
    return true;
  } catch {
    return false;
  }
}
