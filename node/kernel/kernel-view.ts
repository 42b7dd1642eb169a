import { isIPv4, isIPv6 } from "node:net";

// What the rules of one machine are made from. Everything in here ends up in a text that runs with
// CAP_NET_ADMIN, and some of it comes from an API: `checkedView` is the only way in.

/** Bits of a packet's mark that are ours: beside those of kube-proxy (0xc000), Calico, Cilium, AWS. */
export const MARK_CAPTURED = 0x10;
/** Replies to what others opened towards a pod, and pods that are not governed. */
export const MARK_PASSED = 0x20;

/** The proxy's user. Never shared with an agent: in sidecar mode it is what may go out. */
export const PROXY_UID = 4737;
export const TRANSPARENT_PORT = 14_001;
export const DNS_PORT = 14_053;
/** Never dialled for an agent, whatever the policy says: the cloud's own credentials are there. */
export const METADATA = { 4: "169.254.169.254", 6: "fd00:ec2::254" } as const;

/** The most pods one ruleset is made for; more than any machine runs. */
export const PODS_MAX = 4_096;
/** TCP connections one address may have at once, so that one pod cannot fill the connection table. Others wait until one ends. */
export const CONNECTIONS_PER_ADDRESS_MAX = 2_048;
/**
 * Questions for names that one address may ask a second, and how many at once. Each is a flow of its own to the kernel for half a
 * minute, and work for a data loop: without a bound one pod fills the connection table, or takes the loop from all others.
 */
export const QUESTIONS_PER_ADDRESS = { perSecond: 250, burst: 1_000 } as const;

/** One pod, as the machine's packet filter can tell it: by where its packets come in, and from where. */
export type PodPort = {
  /** The interface its packets come in by: its own veth, or the bridge it is plugged into. */
  readonly link: string;
  /** The port of the bridge, where `link` is one. */
  readonly port?: string;
  /** IPv4 and IPv6 addresses that were assigned to it. */
  readonly addresses: readonly string[];
  /** Not governed: a part of the cluster itself, named so by the operator. */
  readonly exempt: boolean;
};

export type Bridge = { readonly link: string; readonly mac: string };

export type KernelView = {
  /** Interfaces that lead elsewhere than to a pod. All others are taken for pods'. */
  readonly infra: readonly string[];
  readonly bridges: readonly Bridge[];
  readonly pods: readonly PodPort[];
  /** Addresses of killed agents. */
  readonly killed: readonly string[];
};

/** The view cannot be made into rules; the message says why. */
export class KernelViewError extends Error {
  override readonly name = "KernelViewError";
}

const LINK = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/;
const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/;

/**
 * The view, once every text in it is of a form that can stand in a ruleset.
 *
 * @throws KernelViewError A name or an address is none, an address is given to two pods, a port hangs
 *   on no bridge that is known, or there is no interface that leads elsewhere.
 */
export function checkedView(view: KernelView): KernelView {
  const { infra, bridges, pods, killed } = view;
  const fail = (what: string): never => {
    throw new KernelViewError(what);
  };
  if (infra.length === 0) fail("no interface leads elsewhere than to pods");
  if (pods.length > PODS_MAX) fail(`${pods.length} pods are more than ${PODS_MAX}`);
  const links = [...infra, ...bridges.map(({ link }) => link)];
  for (const link of [...links, ...pods.flatMap((pod) => [pod.link, pod.port ?? pod.link])])
    if (!LINK.test(link)) fail(`${JSON.stringify(link)} is no name of an interface`);
  for (const { mac } of bridges)
    if (!MAC.test(mac)) fail(`${JSON.stringify(mac)} is no MAC address`);
  const known = new Set(bridges.map(({ link }) => link));
  const taken = new Set<string>();
  for (const pod of pods) {
    if (infra.includes(pod.link)) fail(`${pod.link} leads to a pod and is said not to`);
    if (pod.port !== undefined && !known.has(pod.link)) fail(`${pod.link} is no known bridge`);
    for (const address of pod.addresses) {
      if (taken.has(address)) fail(`${address} is assigned twice`);
      taken.add(address);
    }
  }
  for (const address of [...taken, ...killed])
    if (!isIPv4(address) && !isPlainIPv6(address)) fail(`${JSON.stringify(address)} is no address`);
  return view;
}

/** Without a zone, which would name an interface. */
function isPlainIPv6(address: string): boolean {
  return isIPv6(address) && !address.includes("%");
}

/** The addresses of one family, sorted, each once. */
export function ofFamily(addresses: Iterable<string>, family: 4 | 6): readonly string[] {
  const wanted = [...new Set(addresses)].filter((one) => isIPv4(one) === (family === 4));
  return wanted.sort();
}
