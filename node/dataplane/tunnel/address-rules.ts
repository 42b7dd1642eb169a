import { BlockList, isIP } from "node:net";

/** Says which addresses agents' destinations may resolve to. */
export type AddressRules = {
  /** @param address As a resolver gives it. What is no address is not permitted. */
  permits(address: string): boolean;
};

type Subnet = readonly [net: string, bits: number];

/**
 * Addresses that no operator can open: this network, link-local, multicast, broadcast, and where
 * clouds answer for the credentials of the machine.
 */
const NEVER: readonly Subnet[] = [
  ["0.0.0.0", 8],
  ["169.254.0.0", 16],
  ["168.63.129.16", 32],
  ["100.100.100.200", 32],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
  ["::", 128],
  ["fe80::", 10],
  ["fec0::", 10],
  ["ff00::", 8],
  ["fd00:ec2::", 32],
];

/** Special by registry: https://www.iana.org/assignments/iana-ipv4-special-registry */
const NOT_PUBLIC_V4: readonly Subnet[] = [
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
];

/** Public is what lies in here and not in the list below; 6to4 and Teredo hide an IPv4 address. */
const PUBLIC_V6: Subnet = ["2000::", 3];
const NOT_PUBLIC_V6: readonly Subnet[] = [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
];

/** @see https://www.rfc-editor.org/rfc/rfc6052#section-2.1 */
const NAT64_PREFIX = "64:ff9b::";
const MAPPED_PREFIX = "::ffff:";

/**
 * Public addresses, and those that the operator names.
 *
 * An IPv4 address within an IPv6 one is judged as what it is: mapped, or behind NAT64's well-known
 * prefix. All other IPv6 forms that carry one are refused.
 *
 * @param opened Ranges beside the public ones, as `parseRange` reads them.
 */
export function createAddressRules(opened: readonly Subnet[]): AddressRules {
  const never = listOf(NEVER);
  const closed = listOf([...NOT_PUBLIC_V4, ...NOT_PUBLIC_V6]);
  const publicV6 = listOf([PUBLIC_V6]);
  const open = listOf(opened);
  const permits = (address: string): boolean => {
    const family = isIP(address);
    if (family === 0 || address.includes("%")) return false;
    const inner = family === 6 ? embeddedIPv4(address) : undefined;
    if (inner !== undefined) return permits(inner);
    const type = family === 4 ? "ipv4" : "ipv6";
    if (never.check(address, type)) return false;
    if (open.check(address, type)) return true;
    if (closed.check(address, type)) return false;
    return family === 4 || publicV6.check(address, type);
  };
  return { permits };
}

/** A range such as `10.1.0.0/16` or `fd12:3456::/32`; `undefined` for anything else. */
export function parseRange(text: string): Subnet | undefined {
  const match = /^([0-9a-fA-F.:]+)\/([0-9]{1,3})$/.exec(text);
  const [, net = "", bitsText = ""] = match ?? [];
  const family = isIP(net);
  const bits = Number(bitsText);
  if (family === 0 || bits === 0 || bits > (family === 4 ? 32 : 128)) return undefined;
  return [net, bits];
}

function listOf(subnets: readonly Subnet[]): BlockList {
  const list = new BlockList();
  for (const [net, bits] of subnets) {
    list.addSubnet(net, bits, isIP(net) === 4 ? "ipv4" : "ipv6");
  }
  return list;
}

/** The IPv4 address that an IPv6 one stands for, where it stands for one. */
function embeddedIPv4(address: string): string | undefined {
  // The parser of URLs writes every spelling of an IPv6 address in the one short way.
  const canonical = URL.parse(`http://[${address}]/`)?.hostname.slice(1, -1) ?? "";
  for (const prefix of [MAPPED_PREFIX, NAT64_PREFIX]) {
    if (!canonical.startsWith(prefix)) continue;
    const groups = canonical.slice(prefix.length).split(":");
    if (groups.length > 2) continue;
    const [low = "0", high = "0"] = groups.reverse();
    const value = Number.parseInt(high || "0", 16) * 0x1_0000 + Number.parseInt(low || "0", 16);
    return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
  }
  return undefined;
}
