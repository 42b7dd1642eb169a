import {
  DNS_PORT,
  KernelViewError,
  MARK_CAPTURED,
  MARK_PASSED,
  PROXY_UID,
  TRANSPARENT_PORT,
} from "./kernel-view.ts";

// The rules inside one pod, for clusters in which nothing may be installed on machines. They are the
// weaker form: agent and proxy share a network, and the rules tell them apart by user or by control
// group. They hold only against an agent without CAP_NET_ADMIN (it could take the rules away),
// CAP_NET_RAW (it could write frames with our mark) and CAP_SETUID (it could become the proxy).

export type SidecarView = {
  /** The interface that leads out of the pod. */
  readonly link: string;
  /** Ports of the proxy that an agent must not reach: gRPC, metrics. */
  readonly closedPorts: readonly number[];
  /**
   * The proxy's control group below /sys/fs/cgroup, and how deep it lies. Given, it is what tells the
   * proxy from the agent, whatever user the agent becomes. It must be there before the rules are loaded.
   */
  readonly cgroup?: { readonly path: string; readonly level: number };
};

/** The tables of the sidecar's rules, one of them at the device itself. */
export const SIDECAR_TABLE = "altrace_sc";

const LINK = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/;
const CGROUP = /^[A-Za-z0-9_.:@/-]{1,512}$/;
const ND =
  "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report }";

/** Makes the text for `nft -f`. @throws KernelViewError The view is not of the form it must have. */
export function sidecarRuleset(view: SidecarView): string {
  const { link, closedPorts, cgroup } = view;
  if (!LINK.test(link)) throw new KernelViewError(`${JSON.stringify(link)} is no interface`);
  if (cgroup !== undefined && !CGROUP.test(cgroup.path))
    throw new KernelViewError(`${JSON.stringify(cgroup.path)} is no control group`);
  for (const port of closedPorts)
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      throw new KernelViewError(`${port} is no port`);
  const closed = [...new Set([TRANSPARENT_PORT, ...closedPorts])].sort((a, b) => a - b);
  return [
    `table inet ${SIDECAR_TABLE}`,
    `delete table inet ${SIDECAR_TABLE}`,
    `table inet ${SIDECAR_TABLE} {`,
    `  set closed { type inet_service; elements = { ${closed.join(", ")} } }`,
    ...markChain(proxyMatch(cgroup)),
    ...captureChains(proxyMatch(cgroup)),
    ...outChains(proxyMismatch(cgroup)),
    "}",
    ...deviceTable(link),
    "",
  ].join("\n");
}

function proxyMatch(cgroup: SidecarView["cgroup"]): string {
  return cgroup === undefined
    ? `meta skuid ${PROXY_UID}`
    : `socket cgroupv2 level ${cgroup.level} "${cgroup.path}"`;
}

function proxyMismatch(cgroup: SidecarView["cgroup"]): string {
  return proxyMatch(cgroup).replace(/(skuid|level \d+) /, "$1 != ");
}

function markChain(proxy: string): string[] {
  return [
    "  chain mark_out {",
    "    type route hook output priority mangle; policy accept;",
    // On the connection, so that the last segments of a socket without an owner still count as the proxy's.
    `    ${proxy} ct state new ct mark set ${MARK_PASSED}`,
    `    ct mark ${MARK_PASSED} meta mark set ${MARK_PASSED} accept`,
    `    ct direction reply ct state established meta mark set ${MARK_PASSED} accept`,
    // A source that is not ours would have the proxy's own answers carry bytes elsewhere. After the line
    // above, because a transparent socket answers from an address that is not ours either.
    "    fib saddr type != { local, unspec } drop",
    "    meta mark set 0x0",
    "    fib daddr type local accept",
    `    meta l4proto tcp meta mark set ${MARK_CAPTURED}`,
    "  }",
  ];
}

function captureChains(proxy: string): string[] {
  const lo = `iifname "lo" meta mark ${MARK_CAPTURED}`;
  return [
    "  chain capture {",
    "    type filter hook prerouting priority mangle; policy accept;",
    `    ${lo} meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:${TRANSPARENT_PORT} accept`,
    `    ${lo} meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:${TRANSPARENT_PORT} accept`,
    // Reached when nobody listens there.
    `    ${lo} drop`,
    "  }",
    "  chain names {",
    "    type nat hook output priority -100; policy accept;",
    `    ${proxy} return`,
    `    udp dport 53 redirect to :${DNS_PORT}`,
    "  }",
  ];
}

function outChains(notProxy: string): string[] {
  return [
    "  chain out {",
    "    type filter hook output priority 10; policy drop;",
    `    ct mark ${MARK_PASSED} accept`,
    "    ct direction reply ct state established accept",
    // Sent again through lo; this chain still sees the interface from before that.
    `    meta mark ${MARK_CAPTURED} accept`,
    `    ${notProxy} fib daddr type local tcp dport @closed reject with tcp reset`,
    `    udp dport ${DNS_PORT} ct status dnat accept`,
    '    oifname "lo" fib daddr type local meta l4proto { tcp, udp } accept',
    `    ip6 daddr { fe80::/10, ff02::/16 } ${ND} accept`,
    "    meta l4proto tcp reject with tcp reset",
    "    reject with icmpx type admin-prohibited",
    "  }",
    // The same again where the interface is the final one: it holds when the route for the mark is gone.
    "  chain leave {",
    "    type filter hook postrouting priority 10; policy accept;",
    `    meta mark ${MARK_CAPTURED} oifname != "lo" drop`,
    `    udp dport ${DNS_PORT} oifname != "lo" drop`,
    "  }",
  ];
}

/** Frames that a packet socket writes pass no other hook than this one. */
function deviceTable(link: string): string[] {
  return [
    `table netdev ${SIDECAR_TABLE}`,
    `delete table netdev ${SIDECAR_TABLE}`,
    `table netdev ${SIDECAR_TABLE} {`,
    "  chain leave {",
    `    type filter hook egress device "${link}" priority 0; policy drop;`,
    "    ether type arp accept",
    `    meta mark ${MARK_PASSED} accept`,
    `    ip6 daddr { fe80::/10, ff02::/16 } ${ND} accept`,
    "  }",
    "}",
  ];
}

/** Words for `ip` that send captured packets back in; the sidecar has no other routes of its own. */
export function sidecarRoutes(): readonly (readonly string[])[] {
  const mark = `0x${MARK_CAPTURED.toString(16)}/0x${MARK_CAPTURED.toString(16)}`;
  return ["-4", "-6"].flatMap((family) => [
    [family, "route", "replace", "local", "default", "dev", "lo", "table", "100"],
    [family, "rule", "add", "pref", "100", "fwmark", mark, "lookup", "100"],
  ]);
}
