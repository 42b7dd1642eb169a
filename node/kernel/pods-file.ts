import { readFileSync, watch } from "node:fs";
import { dirname } from "node:path";
import { errorMessage } from "../../ports/error-message.ts";
import type { Pod, PodSource } from "./pod.ts";
import { readPodList } from "./pod-list.ts";

/**
 * The pods that an operator lists in a file. One that is wrong when it is first read stops the start; later the one before it
 * stands.
 *
 * @param onFault Told each time that what lies there cannot be read.
 */
export function podsFromFile(file: string, onFault: (what: string) => void): PodSource {
  let text: string | undefined;
  let wrong: string | undefined;
  let watcher: ReturnType<typeof watch> | undefined;
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
      // The folder, because an editor puts a new file in the place of the old one. Whoever is told of pods may write into
      // it as well: to be told of the same ones again for that would never end.
      watcher = watch(dirname(file), () => {
        try {
          const pods = read();
          wrong = undefined;
          if (pods !== undefined) onPods(pods);
        } catch (error) {
          wrong = `${file}: ${errorMessage(error)}`;
          onFault(wrong);
        }
      });
    },
    stop: () => watcher?.close(),
    staleBecause: () => wrong,
  };
}
