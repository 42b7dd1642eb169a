import { errorMessage } from "../../ports/error-message.ts";
import type { PodPort } from "./kernel-view.ts";
import { type Machine, mapPods, type PlacedPod } from "./link-map.ts";
import type { Pod } from "./pod.ts";

// The pods that rules were last made of, for an enforcer that starts while nobody can tell it of them: with a list of
// none every pod of the machine would be cut off, the cluster's own among them.
//
// What was kept is not asked whether it is true, so it must not be able to become another pod's. It counts for as long as
// the interface by which the pod's packets came is the very same one: its name and its number, which the kernel gives
// to no second one that is made here until the machine is booted again. (One that is moved here from a pod's network keeps
// its number where that is free, so the number alone would not do.) A pod's interface is made with it and goes with it. So
// this is asked anew whenever the machine has changed, until somebody has told of the pods; and who is exempt, of the
// settings of now.

type KeptPod = { readonly pod: Pod; readonly way: string };
type Kept = { readonly boot: string; readonly pods: readonly KeptPod[] };

export type KeptPodsDeps = {
  /** Another one after each boot. */
  readonly boot: string;
  /** Whether a pod of this namespace that was exempt is so still. */
  readonly isExempt: (namespace: string) => boolean;
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
  /** What the last one kept, by pod; undefined until it was asked for. */
  #before: ReadonlyMap<Pod, string> | undefined;
  #written = "";

  constructor(deps: KeptPodsDeps) {
    this.#deps = deps;
  }

  /** Those that have not moved; none where nothing was kept, or what was kept cannot be read. */
  on(machine: Machine, infra: readonly string[]): readonly Pod[] {
    try {
      const before = this.#before ?? this.#read();
      this.#before = before;
      const { placed } = mapPods(machine, [...before.keys()], infra);
      return placed
        .filter(({ pod, at }) => wayOf(machine.links, at) === before.get(pod))
        .map(({ pod }) => pod);
    } catch (error) {
      this.#before = new Map();
      this.#deps.onFault(`the pods of before cannot be read: ${errorMessage(error)}`);
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

  #read(): ReadonlyMap<Pod, string> {
    const { boot, read, isExempt } = this.#deps;
    const text = read();
    if (text === undefined) return new Map();
    const kept = JSON.parse(text) as Kept;
    if (kept.boot !== boot) return new Map();
    const counting = kept.pods.filter(({ pod }) => !pod.exempt || isExempt(pod.namespace));
    return new Map(counting.map(({ pod, way }) => [pod, way]));
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
