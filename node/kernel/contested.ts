import { canonicalAddress } from "./address-bytes.ts";
import type { Pod } from "./pod.ts";

/** Claimants that are named; more would make a name that nobody reads. */
const NAMED_MAX = 4;

export type Settled = {
  /** No address twice. */
  readonly pods: readonly Pod[];
  /** Those that claim an address which another pod has too; each address as a pod that nobody registered. */
  readonly contested: readonly Pod[];
};

/**
 * Takes an address that several pods have away from all of them, and gives it to a stranger in their place.
 *
 * Whose packets come from it cannot be told: a pod that has ended may still be listed, or a network plugin may have given an
 * address twice. Its connections are captured, refused as a stranger's, and listed by `altrace discover`
 * under the names of all that claim it. The pods keep their other addresses, and nobody else is held up.
 */
export function settleAddresses(pods: readonly Pod[]): Settled {
  const claimants = new Map<string, Pod[]>();
  for (const pod of pods)
    for (const address of new Set(pod.addresses.map(canonicalAddress))) {
      const known = claimants.get(address) ?? [];
      known.push(pod);
      claimants.set(address, known);
    }
  const isContested = (address: string) =>
    (claimants.get(canonicalAddress(address))?.length ?? 0) > 1;
  const contested = [...claimants]
    .filter(([, of]) => of.length > 1)
    .map(([address, of]) => strangerAt(address, of));
  if (contested.length === 0) return { pods, contested };
  const others = pods.map((pod) => ({
    ...pod,
    addresses: pod.addresses.filter((address) => !isContested(address)),
  }));
  return { pods: [...others, ...contested], contested };
}

function strangerAt(address: string, of: readonly Pod[]): Pod {
  const names = of.map(({ namespace, name }) => (namespace === "" ? name : `${namespace}/${name}`));
  const more = names.length > NAMED_MAX ? [`${names.length - NAMED_MAX}-more`] : [];
  const [first] = of;
  const isOneWay = of.every(({ link, port }) => link === first?.link && port === first?.port);
  return {
    uid: `contested/${address}`,
    namespace: "",
    name: [...names.sort().slice(0, NAMED_MAX), ...more].join("+"),
    agent: undefined,
    addresses: [address],
    exempt: false,
    canary: false,
    isContested: true,
    // Two ways in are none: the machine's own routes then say where it leads to, or it is dropped.
    ...(isOneWay && first?.link !== undefined && { link: first.link }),
    ...(isOneWay && first?.port !== undefined && { port: first.port }),
  };
}
