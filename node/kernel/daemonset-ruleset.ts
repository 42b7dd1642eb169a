import { bridgeTable } from "./bridge-table.ts";
import {
  CONNECTIONS_PER_ADDRESS_MAX,
  checkedView,
  DNS_PORT,
  type KernelView,
  MARK_CAPTURED,
  MARK_PASSED,
  METADATA,
  ofFamily,
  QUESTIONS_PER_ADDRESS,
  TRANSPARENT_PORT,
} from "./kernel-view.ts";
import { KNOCKED_SETS, knockedSet, knockRule } from "./knock-form.ts";
import { nftSet, quoted } from "./nft-set.ts";

// The rules of a machine on which pods are governed. What must hold of them:
//
// R1. One text, one transaction: it replaces the tables whole, and nothing passes in between.
// R2. Every interface that is not known to lead elsewhere leads to a pod. An unknown pod is captured.
// R3. A packet whose interface and source address were not assigned together is dropped.
// R4. TCP goes to the proxy, or nowhere: each way through `capture` ends in a drop.
// R5. What was open before the rules were loaded does not stay open: no rule accepts what is
//     established, except replies to what others opened towards the pod.
// R6. Killed addresses are part of the text, so that loading it again revives nobody.
// R7. A reset is never swallowed: it is how a killed agent learns that it is.
// R8. What is too much waits and is not refused: while a node is replaced, its pods' connections are open and nobody takes
//     them. A SYN that is dropped is sent again, as one that finds the backlog full.

/** The table of all families' rules. */
export const TABLE = "altrace";
/** The sets that a kill changes between two loads. */
export const KILLED_SETS = { 4: "killed4", 6: "killed6" } as const;

const FAMILIES = [4, 6] as const;
const HEADER = { 4: "ip", 6: "ip6" } as const;

/** Makes the text for `nft -f`. @throws KernelViewError The view is not of the form it must have. */
export function daemonsetRuleset(view: KernelView): string {
  const checked = checkedView(view);
  const tables = [inetTable(checked)];
  if (checked.bridges.length > 0) tables.push(bridgeTable(checked));
  return `${tables.join("\n")}\n`;
}

/** `over`: connections beyond what an address may have; `asked`: questions beyond what it may ask. */
const COUNTERS = ["captured", "spoofed", "killed", "refused", "over", "asked"];

function inetTable(view: KernelView): string {
  return [
    // Declared, so that there is something to delete; deleted, so that nothing of it stays.
    `table inet ${TABLE}`,
    `delete table inet ${TABLE}`,
    `table inet ${TABLE} {`,
    ...sets(view),
    ...COUNTERS.map((name) => `  counter ${name} { }`),
    ...admitChain(),
    ...captureChain(),
    ...dnsChain(),
    ...hostChains(),
    "}",
  ].join("\n");
}

function sets({ infra, pods, killed }: KernelView): string[] {
  const pairs = (family: 4 | 6, exempt: boolean) =>
    pods
      .filter((pod) => pod.exempt === exempt)
      .flatMap(({ link, addresses }) =>
        ofFamily(addresses, family).map((address) => `${quoted(link)} . ${address}`),
      );
  const perAddress = (name: string, family: 4 | 6) =>
    `  set ${name}${family} { type ipv${family}_addr; size 65535; flags dynamic; }`;
  return [
    nftSet({ name: "infra", type: "ifname", elements: infra.map(quoted) }),
    nftSet({ name: "assigned4", type: "ifname . ipv4_addr", elements: pairs(4, false) }),
    nftSet({ name: "assigned6", type: "ifname . ipv6_addr", elements: pairs(6, false) }),
    nftSet({ name: "exempt4", type: "ifname . ipv4_addr", elements: pairs(4, true) }),
    nftSet({ name: "exempt6", type: "ifname . ipv6_addr", elements: pairs(6, true) }),
    nftSet({ name: KILLED_SETS[4], type: "ipv4_addr", elements: ofFamily(killed, 4) }),
    nftSet({ name: KILLED_SETS[6], type: "ipv6_addr", elements: ofFamily(killed, 6) }),
    knockedSet(4),
    knockedSet(6),
    ...FAMILIES.flatMap((family) => [
      perAddress("connections", family),
      perAddress("questions", family),
    ]),
  ];
}

/** Neighbour discovery stays on the link: a hop limit of 255 says that no router passed it on. */
const NEIGHBOURS =
  "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } ip6 hoplimit 255";

/** Before connections are tracked: who may send at all, and what. Fragments were joined before. */
function admitChain(): string[] {
  return [
    "  chain admit {",
    "    type filter hook prerouting priority -300; policy accept;",
    "    iifname @infra return",
    `    meta nfproto ipv6 ip6 saddr fe80::/10 ${NEIGHBOURS} accept`,
    "    ip6 saddr :: icmpv6 type nd-neighbor-solicit ip6 hoplimit 255 accept",
    `    iifname . ip saddr @exempt4 meta mark set meta mark | ${MARK_PASSED} accept`,
    `    iifname . ip6 saddr @exempt6 meta mark set meta mark | ${MARK_PASSED} accept`,
    "    meta nfproto ipv4 iifname . ip saddr != @assigned4 counter name spoofed drop",
    `    meta nfproto ipv6 iifname . ip6 saddr @assigned6 ${NEIGHBOURS} accept`,
    "    meta nfproto ipv6 iifname . ip6 saddr != @assigned6 counter name spoofed drop",
    // A killed agent's program is told at once; what it sends beside TCP vanishes.
    "    ip saddr @killed4 meta l4proto tcp counter name killed reject with tcp reset",
    "    ip6 saddr @killed6 meta l4proto tcp counter name killed reject with tcp reset",
    "    ip saddr @killed4 counter name killed drop",
    "    ip6 saddr @killed6 counter name killed drop",
    ...toKnocked,
    `    ip daddr ${METADATA[4]} meta l4proto tcp counter name refused reject with tcp reset`,
    `    ip6 daddr ${METADATA[6]} meta l4proto tcp counter name refused reject with tcp reset`,
    "    meta l4proto tcp accept",
    // Here, before the kernel notes a flow for each.
    ...FAMILIES.map(tooManyQuestions),
    "    udp dport 53 accept",
    // QUIC above all: clients fall back to TCP as soon as they are told.
    "    meta l4proto udp counter name refused reject with icmpx type port-unreachable",
    "    counter name refused drop",
    "  }",
  ];
}

function tooManyQuestions(family: 4 | 6): string {
  const { perSecond, burst } = QUESTIONS_PER_ADDRESS;
  return (
    `    meta nfproto ipv${family} udp dport 53 add @questions${family} { ${HEADER[family]} saddr ` +
    `limit rate over ${perSecond}/second burst ${burst} packets } counter name asked drop`
  );
}

function tooManyConnections(family: 4 | 6): string {
  return (
    `    meta nfproto ipv${family} meta l4proto tcp ct state new add @connections${family} ` +
    `{ ${HEADER[family]} saddr ct count over ${CONNECTIONS_PER_ADDRESS_MAX} } ` +
    "counter name over drop"
  );
}

/** The same for the addresses of knocks. They lie in a set of bytes: nft knows no address within a datagram. */
const toKnocked = FAMILIES.flatMap((family) => {
  const source = family === 4 ? "@nh,96,32" : "@nh,64,128";
  const knocked = `    meta nfproto ipv${family} ${source} @${KNOCKED_SETS[family]}`;
  return [
    `${knocked} meta l4proto tcp counter name killed reject with tcp reset`,
    `${knocked} counter name killed drop`,
  ];
});

function captureChain(): string[] {
  const captured = `meta mark set meta mark | ${MARK_CAPTURED} counter name captured accept`;
  return [
    "  chain capture {",
    "    type filter hook prerouting priority mangle; policy accept;",
    "    iifname @infra return",
    `    meta mark & ${MARK_PASSED} == ${MARK_PASSED} accept`,
    "    meta l4proto != { tcp, udp, icmpv6 } drop",
    `    ct direction reply ct state established meta mark set meta mark | ${MARK_PASSED} accept`,
    "    meta l4proto tcp ct state invalid drop",
    ...FAMILIES.map(tooManyConnections),
    `    meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:${TRANSPARENT_PORT} ${captured}`,
    `    meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:${TRANSPARENT_PORT} ${captured}`,
    // Reached when nobody listens there: without this line the packet would simply be forwarded.
    "    meta l4proto tcp drop",
    "    udp dport 53 accept",
    `    meta nfproto ipv6 ${NEIGHBOURS} accept`,
    "    drop",
    "  }",
  ];
}

/** Every question goes to our own resolver, whichever it was meant for; kube-proxy's turn is later. */
function dnsChain(): string[] {
  return [
    "  chain names {",
    "    type nat hook prerouting priority -110; policy accept;",
    "    iifname @infra return",
    `    meta mark & ${MARK_PASSED} == ${MARK_PASSED} return`,
    `    udp dport 53 redirect to :${DNS_PORT}`,
    "  }",
  ];
}

/** What reaches the machine itself, what it forwards, and what it sends to the killed. */
function hostChains(): string[] {
  const passed = `meta mark & ${MARK_PASSED} == ${MARK_PASSED}`;
  // Dropped, not rejected: a reset for the proxy's own half would bear the agent's address, and be routed
  // to whatever the agent had dialled.
  const toKilled = (family: 4 | 6, header: string) => [
    // The answer to a SYN that came in just before the kill. Without it the agent would not be refused before
    // its next attempt, a second later; with it, its own answer meets the reset.
    `    ${header} daddr @killed${family} tcp flags & (syn | ack) == syn | ack accept`,
    `    ${header} daddr @killed${family} meta l4proto tcp tcp flags & rst == 0 drop`,
  ];
  return [
    "  chain inward {",
    "    type filter hook input priority -10; policy accept;",
    // The door listens on every address, because a question is sent on to that of the link by which it came.
    `    iifname @infra udp dport ${DNS_PORT} drop`,
    "    iifname @infra return",
    `    meta mark & ${MARK_CAPTURED} == ${MARK_CAPTURED} meta l4proto tcp accept`,
    `    ${passed} accept`,
    `    udp dport ${DNS_PORT} ct status dnat accept`,
    `    meta nfproto ipv6 ${NEIGHBOURS} accept`,
    "    counter name refused drop",
    "  }",
    "  chain onward {",
    "    type filter hook forward priority -10; policy accept;",
    "    iifname @infra return",
    `    ${passed} accept`,
    "    counter name refused drop",
    "  }",
    "  chain outward {",
    "    type filter hook output priority -10; policy accept;",
    ...toKilled(4, "ip"),
    ...toKilled(6, "ip6"),
    "  }",
    // Each in a chain of its own system call: the node hears within it what became of its knock.
    "  chain knocks {",
    "    type filter hook output priority -10; policy accept;",
    `    ${knockRule(4)}`,
    `    ${knockRule(6)}`,
    "  }",
  ];
}
