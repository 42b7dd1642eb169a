import { type KernelView, ofFamily, type PodPort } from "./kernel-view.ts";
import { nftSet, quoted } from "./nft-set.ts";

/** The table of frames between the ports of a bridge, which the rules for packets do not see. */
export const BRIDGE_TABLE = "altrace_br";

/**
 * Makes pods on one bridge unable to reach each other past the rules for packets: each frame of a
 * governed port is handed to the machine itself, as if it had been sent to the bridge.
 *
 * Who sent it is judged here, because behind the bridge all ports look alike.
 */
export function bridgeTable({ infra, bridges, pods }: KernelView): string {
  const ports = pods.filter((pod) => pod.port !== undefined);
  const assigned = (family: 4 | 6) =>
    ports.flatMap((pod) =>
      ofFamily(pod.addresses, family).map((address) => `${portOf(pod)} . ${address}`),
    );
  const exempt = ports.filter((pod) => pod.exempt).map(portOf);
  return [
    `table bridge ${BRIDGE_TABLE}`,
    `delete table bridge ${BRIDGE_TABLE}`,
    `table bridge ${BRIDGE_TABLE} {`,
    nftSet({ name: "infra", type: "ifname", elements: infra.map(quoted) }),
    nftSet({ name: "exempt", type: "ifname", elements: exempt }),
    nftSet({ name: "assigned4", type: "ifname . ipv4_addr", elements: assigned(4) }),
    nftSet({ name: "assigned6", type: "ifname . ipv6_addr", elements: assigned(6) }),
    ...bridges.map(({ link }, i) => {
      const plugged = ports.filter((pod) => pod.link === link && !pod.exempt);
      return nftSet({ name: `ports${i}`, type: "ifname", elements: plugged.map(portOf) });
    }),
    ...portChains(bridges),
    "}",
  ].join("\n");
}

const ND = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }";
const UNICAST = "ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00";

function portChains(bridges: KernelView["bridges"]): string[] {
  return [
    "  chain judge {",
    "    ether type arp iifname . arp saddr ip @assigned4 return",
    "    ether type ip iifname . ip saddr @assigned4 return",
    `    ether type ip6 ip6 saddr fe80::/10 ${ND} ip6 hoplimit 255 return`,
    "    ether type ip6 ip6 saddr :: icmpv6 type nd-neighbor-solicit ip6 hoplimit 255 return",
    "    ether type ip6 iifname . ip6 saddr @assigned6 return",
    // A port that is not known yet is not trusted either: its pod waits for the next load.
    "    drop",
    "  }",
    "  chain ports {",
    "    type filter hook prerouting priority -300; policy accept;",
    "    iifname @infra return",
    "    jump judge",
    "    iifname @exempt return",
    ...bridges.map(
      ({ mac }, i) =>
        `    iifname @ports${i} ether type { ip, ip6 } ${UNICAST} ether daddr set ${mac} ` +
        "meta pkttype set host accept",
    ),
    // What remains goes to every port: neighbours are asked for in this way, and nothing else is.
    "    ether type arp accept",
    `    ether type ip6 ${ND} ip6 hoplimit 255 accept`,
    "    drop",
    "  }",
  ];
}

function portOf(pod: PodPort): string {
  return quoted(pod.port as string);
}
