import { readFileSync, statSync } from "node:fs";
import type { Cancel, Clock } from "../ports/clock.ts";
import { errorMessage } from "../ports/error-message.ts";
import type { WatchFile } from "../ports/watch-file.ts";

/** How often a file is looked at, ms. A watch would miss changes on network and overlay file systems. */
export const WATCHED_EVERY_MS = 1_000;

/** Looks at files with that clock. */
export function fileWatch(clock: Pick<Clock, "after">): WatchFile {
  return (of) => watchFile(of, clock);
}

function watchFile(
  { path, onChange, onProblem }: Parameters<WatchFile>[0],
  clock: Pick<Clock, "after">,
): Cancel {
  let isGone = false;
  const look = (): string | undefined => {
    try {
      const { mtimeMs, size, ino } = statSync(path);
      isGone = false;
      return `${mtimeMs} ${size} ${ino}`;
    } catch (error) {
      if (!isGone) onProblem(errorMessage(error));
      isGone = true;
      return undefined;
    }
  };
  let taken: string | undefined;
  let unread: string | undefined;
  let seen = look();
  const take = (stamp: string): Uint8Array | undefined => {
    try {
      const bytes = readFileSync(path);
      // What has changed meanwhile is read when it stands still.
      if (look() !== stamp) return undefined;
      taken = stamp;
      return bytes;
    } catch (error) {
      // That it can be read again does not show in its times, so each turn tries; it is told once.
      if (unread !== stamp) onProblem(errorMessage(error));
      unread = stamp;
      return undefined;
    }
  };
  const turn = (): void => {
    cancel = clock.after(WATCHED_EVERY_MS, turn);
    const now = look();
    const isStill = now === seen;
    seen = now ?? seen;
    const bytes = now !== undefined && now !== taken && isStill ? take(now) : undefined;
    if (bytes !== undefined) onChange(bytes);
  };
  let cancel = clock.after(WATCHED_EVERY_MS, turn);
  return () => cancel();
}
