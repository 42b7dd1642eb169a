import { statSync } from "node:fs";

/**
 * Does something as the user that a folder belongs to, where root asks: that user could not read what root makes
 * there, and what it has put there itself, as a link, must not lead root elsewhere.
 *
 * @param act Does all of it before it returns: the whole process is that user meanwhile.
 */
export function asOwnerOf<T>(folder: string, act: () => T): T {
  const { uid, gid } = statSync(folder);
  const { geteuid, getegid, seteuid, setegid } = process;
  if (geteuid?.() !== 0 || uid === 0) return act();
  const groupBefore = getegid?.() ?? 0;
  setegid?.(gid);
  try {
    seteuid?.(uid);
    try {
      return act();
    } finally {
      seteuid?.(0);
    }
  } finally {
    setegid?.(groupBefore);
  }
}
