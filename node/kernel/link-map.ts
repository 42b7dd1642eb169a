import { canonicalAddress } from "./address-bytes.ts";
import type { Bridge, KernelView, PodPort } from "./kernel-view.ts";
import type { Pod } from "./pod.ts";

// Kubernetes knows a pod's addresses; only the machine knows by which interface they come in. For a
// routed network its routes say so, one to each pod. Behind a bridge nothing on the wire can be trusted,
// because any pod may answer for any address: there the network plugin's own notes say it.

/** `ip -d -j link`, as far as it is read. */
export type ShownLink = {
  readonly ifname: string;
  /** Of no other interface that is made in this network until the next boot. */
  readonly ifindex?: number;
  readonly address?: string;
  readonly master?: string;
  readonly linkinfo?: { readonly info_kind?: string };
};

/** `ip -j route`, as far as it is read. */
export type ShownRoute = { readonly dst: string; readonly dev?: string };

/** What a network plugin noted of one pod: its addresses, and the interfaces it made on the machine. */
export type NotedPod = { readonly addresses: readonly string[]; readonly links: readonly string[] };

export type Machine = {
  readonly links: readonly ShownLink[];
  readonly routes: readonly ShownRoute[];
  readonly noted: readonly NotedPod[];
};

export type PlacedPod = { readonly pod: Pod; readonly at: PodPort };

/** What the rules are made of, less the killed; and the pods for which there is no way in. */
export type MappedPods = {
  readonly view: Omit<KernelView, "killed">;
  /** Whose pods those of the view are. */
  readonly placed: readonly PlacedPod[];
  /** Captured like any stranger, and dropped, until their interface is known. */
  readonly unplaced: readonly Pod[];
};

/**
 * Finds where each pod's packets come in.
 *
 * @param infra Names of interfaces that lead elsewhere; a `*` at the end stands for any rest.
 */
export function mapPods(
  machine: Machine,
  pods: readonly Pod[],
  infra: readonly string[],
): MappedPods {
  const leadsElsewhere = matcher(infra);
  const links = machine.links.map(plainName);
  const elsewhere = links.filter(({ ifname }) => leadsElsewhere(ifname));
  const bridges = links.filter(
    ({ ifname, linkinfo }) => linkinfo?.info_kind === "bridge" && !leadsElsewhere(ifname),
  );
  const place = placer(machine, links, new Set(bridges.map(({ ifname }) => ifname)));
  const looked = pods.map((pod) => ({ pod, at: place(pod) }));
  const placed = looked.filter(
    (one): one is PlacedPod => one.at !== undefined && !leadsElsewhere(one.at.link),
  );
  return {
    view: {
      infra: [...new Set(["lo", ...elsewhere.map(({ ifname }) => ifname)])].sort(),
      bridges: bridges.flatMap(({ ifname, address }): Bridge[] =>
        address === undefined ? [] : [{ link: ifname, mac: address }],
      ),
      pods: placed.map(({ at }) => at),
    },
    placed,
    unplaced: looked.flatMap(({ pod, at }) =>
      at === undefined && pod.addresses.length > 0 ? [pod] : [],
    ),
  };
}

function placer(
  { routes, noted }: Machine,
  links: readonly ShownLink[],
  bridges: ReadonlySet<string>,
): (pod: Pod) => PodPort | undefined {
  const linkOf = new Map(
    routes.flatMap(({ dst, dev }) => (dev === undefined ? [] : [[hostOf(dst), dev] as const])),
  );
  const masterOf = new Map(links.map(({ ifname, master }) => [ifname, master]));
  const notes = new Map(
    noted.flatMap((note) => note.addresses.map((address) => [address, note.links] as const)),
  );
  return ({ addresses: given, exempt, link, port }) => {
    const addresses = given.map(canonicalAddress);
    const [first = ""] = addresses;
    const at = (where: { readonly link: string; readonly port?: string }) => ({
      ...where,
      addresses,
      exempt,
    });
    if (link !== undefined) return at({ link, ...(port !== undefined && { port }) });
    const own = notes.get(first)?.find((name) => bridges.has(masterOf.get(name) ?? ""));
    if (own !== undefined) return at({ link: masterOf.get(own) as string, port: own });
    const routed = linkOf.get(first);
    return routed === undefined || bridges.has(routed) ? undefined : at({ link: routed });
  };
}

function matcher(patterns: readonly string[]): (name: string) => boolean {
  return (name) =>
    patterns.some((one) => (one.endsWith("*") ? name.startsWith(one.slice(0, -1)) : name === one));
}

/** Shown as `name@peer` where the other end is known. */
function plainName(link: ShownLink): ShownLink {
  return { ...link, ifname: link.ifname.split("@")[0] as string };
}

/** A route to a single address is shown without the length of its prefix. */
function hostOf(dst: string): string {
  return /^[0-9a-fA-F.:]+$/.test(dst) ? canonicalAddress(dst) : dst;
}
