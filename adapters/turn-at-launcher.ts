import { once } from "node:events";
import { writeSync } from "node:fs";
import { Socket } from "node:net";

/** To the launcher: nothing is missing but that the program before ends. */
const PREPARED = "p";
/** To the launcher: this program has nothing left to do. */
const FREE = "f";

/**
 * Says to the launcher that this program is prepared, and resolves when it is its turn: the one before has ended, or
 * has died. Until then that one serves, and has HOME and the ports.
 *
 * @param fd Connected to the launcher, as it passes it; closed when the turn has come.
 * @throws Error The launcher is gone: nobody will say when.
 */
export async function turnAtLauncher(fd: number): Promise<void> {
  const launcher = new Socket({ fd, readable: true, writable: true });
  launcher.on("error", () => launcher.destroy());
  launcher.write(PREPARED);
  const said = await Promise.race([
    once(launcher, "data").then(() => true),
    once(launcher, "close").then(() => false),
  ]);
  launcher.destroy();
  if (!said) throw new Error("the launcher has ended before it was this program's turn");
}

/**
 * Says to the launcher that this program has nothing left to do: HOME and the ports are the next one's. Where that one
 * waits the launcher ends this program at once, in the middle of whatever follows.
 *
 * @param fd To the launcher, as it passes it; undefined: there is nobody who would hear it.
 */
export function freeForNext(fd: number | undefined): void {
  if (fd === undefined) return;
  try {
    writeSync(fd, FREE);
  } catch {
    // The launcher is gone, or hears of this program's end instead.
  }
}
