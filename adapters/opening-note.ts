import { existsSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

const NOTE = "opening";
const STDERR = 2;

/**
 * Does what may end the process without a word, under a note in `folder` that says so to the next one.
 *
 * Some damage ends the library that reads it, by SIGSEGV, SIGBUS or SIGABRT, and nothing is told then. A process
 * that was ended from outside in that moment leaves the note too: so the next one goes on, after it has said
 * which folder to look at. It says so in this turn, since its own next turn may never come.
 */
export function underNote<T>(folder: string, open: () => T): T {
  const note = join(folder, NOTE);
  if (existsSync(note)) say(folder);
  else leave(note);
  try {
    return open();
  } finally {
    rmSync(note, { force: true });
  }
}

function say(path: string): void {
  const what = "the process before this one ended while it opened this store, which may be damaged";
  const line = JSON.stringify({ level: "warn", event: "store_opening_again", path, what });
  try {
    writeSync(STDERR, `${line}\n`);
  } catch {
    // Nobody reads it, or not now.
  }
}

/** A disk without room is no reason not to open what is on it. */
function leave(note: string): void {
  try {
    writeFileSync(note, "", { mode: 0o600 });
  } catch (error) {
    if (!NO_ROOM.has((error as NodeJS.ErrnoException).code)) throw error;
  }
}

const NO_ROOM: ReadonlySet<string | undefined> = new Set(["ENOSPC", "EDQUOT"]);
