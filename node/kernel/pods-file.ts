import { type FSWatcher, readFileSync, watch } from "node:fs";
import { dirname } from "node:path";
import type { Cancel, Clock } from "../../ports/clock.ts";
import { errorMessage } from "../../ports/error-message.ts";
import type { Pod, PodSource } from "./pod.ts";
import { readPodList } from "./pod-list.ts";

/** A watch may be lost, when its folder is replaced, or be had by nobody, when others have taken all that there are. */
const LOOK_MS = 2_000;

/**
 * The pods that an operator lists in a file. One that is wrong when it is first read stops the start; later the one before it
 * stands.
 */
export function podsFromFile(of: {
  readonly file: string;
  readonly clock: Pick<Clock, "after">;
  /** Told each time that what lies there cannot be read. */
  readonly onFault: (what: string) => void;
}): PodSource {
  const { file, clock, onFault } = of;
  let text: string | undefined;
  let wrong: string | undefined;
  let watcher: FSWatcher | undefined;
  let cancel: Cancel = () => undefined;
  let isStopped = false;
  /** Undefined: they are what they were. */
  const read = (): readonly Pod[] | undefined => {
    const now = readFileSync(file, "utf8");
    if (now === text) return undefined;
    const pods = readPodList(now);
    text = now;
    return pods;
  };
  return {
    start: (onPods) => {
      onPods(read() ?? []);
      const look = (): void => {
        try {
          const pods = read();
          wrong = undefined;
          if (pods !== undefined) onPods(pods);
        } catch (error) {
          const before = wrong;
          wrong = `${file}: ${errorMessage(error)}`;
          if (wrong !== before) onFault(wrong);
        }
      };
      const lookLater = (): void => {
        cancel = clock.after(LOOK_MS, () => {
          if (isStopped) return;
          look();
          lookLater();
        });
      };
      watcher = watched(dirname(file), look);
      lookLater();
    },
    stop: () => {
      isStopped = true;
      cancel();
      watcher?.close();
    },
    staleBecause: () => wrong,
  };
}

/**
 * The folder, because an editor puts a new file in the place of the old one. Whoever is told of pods may write into
 * it as well: to be told of the same ones again for that would never end.
 */
function watched(folder: string, look: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(folder, look);
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}
