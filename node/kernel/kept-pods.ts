import { errorMessage } from "../../ports/error-message.ts";
import type { PodPort } from "./kernel-view.ts";
import { type Machine, mapPods, type PlacedPod } from "./link-map.ts";
import type { Pod } from "./pod.ts";

// The pods that rules were last made of, for an enforcer that starts while nobody can tell it of them: with a list of
// none every pod of the machine would be cut off, the cluster's own among them.
//
// What was kept is not asked whether it is true, so it must not be able to become another pod's. It counts for as long as
// the interface by which the pod's packets came is the very same one: its name and its number, which the kernel gives
// to no second one until the machine is booted again. A pod's interface is made with it and goes with it.

type KeptPod = { readonly pod: Pod; readonly way: string };
type Kept = { readonly boot: string; readonly pods: readonly KeptPod[] };

export type KeptPodsDeps = {
  /** Another one after each boot. */
  readonly boot: string;
  /** @returns undefined where nothing was kept. @throws Where it cannot be read. */
  readonly read: () => string | undefined;
  /** @throws Where there is no room, or no right. */
  readonly write: (text: string) => void;
  /** Takes away what lies there. @throws Where there is no right. */
  readonly remove: () => void;
  readonly onFault: (what: string) => void;
};

/** Keeps the pods whose rules are in force, and gives back those that are still where they were. */
export class KeptPods {
  readonly #deps: KeptPodsDeps;
  #written = "";

  constructor(deps: KeptPodsDeps) {
    this.#deps = deps;
  }

  /** Those that have not moved; none where nothing was kept, or what was kept cannot be read. */
  on(machine: Machine, infra: readonly string[]): readonly Pod[] {
    const { boot, read, onFault } = this.#deps;
    try {
      const text = read();
      if (text === undefined) return [];
      const kept = JSON.parse(text) as Kept;
      if (kept.boot !== boot) return [];
      const ways = new Map(kept.pods.map(({ pod, way }) => [pod.uid, way]));
      const { placed } = mapPods(
        machine,
        kept.pods.map(({ pod }) => pod),
        infra,
      );
      return placed
        .filter(({ pod, at }) => wayOf(machine.links, at) === ways.get(pod.uid))
        .map(({ pod }) => pod);
    } catch (error) {
      onFault(`the pods of before cannot be read: ${errorMessage(error)}`);
      return [];
    }
  }

  keep(placed: readonly PlacedPod[], { links }: Pick<Machine, "links">): void {
    const { boot, write, onFault } = this.#deps;
    const pods = placed.flatMap(({ pod, at }): KeptPod[] => {
      const way = wayOf(links, at);
      return way === undefined ? [] : [{ pod, way }];
    });
    const text = JSON.stringify({ boot, pods } satisfies Kept);
    if (text === this.#written) return;
    try {
      write(text);
      this.#written = text;
    } catch (error) {
      this.#written = "";
      onFault(`the pods cannot be kept: ${errorMessage(error)}${this.#removed()}`);
    }
  }

  /** What lies there is older than what is in force. */
  #removed(): string {
    try {
      this.#deps.remove();
      return "";
    } catch (error) {
      return `; those before stay: ${errorMessage(error)}`;
    }
  }
}

/** The interfaces that a pod's packets pass, each by name and number; undefined where one has none. */
function wayOf(links: Machine["links"], { link, port }: PodPort): string | undefined {
  const numbered = [link, ...(port === undefined ? [] : [port])].map((name) => {
    const index = links.find(({ ifname }) => ifname.split("@")[0] === name)?.ifindex;
    return index === undefined ? undefined : `${name}#${index}`;
  });
  return numbered.includes(undefined) ? undefined : numbered.join(" ");
}
