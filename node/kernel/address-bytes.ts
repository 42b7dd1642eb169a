import { isIPv4, isIPv6 } from "node:net";

/**
 * An address as the kernel holds it: 4 or 16 bytes, the network's order.
 *
 * @throws RangeError The text is no address without a zone.
 */
export function addressBytes(address: string): Uint8Array {
  if (isIPv4(address)) return Uint8Array.from(address.split("."), Number);
  if (!isIPv6(address) || address.includes("%"))
    throw new RangeError(`${JSON.stringify(address)} is no address`);
  const [head = "", tail] = withoutDots(address).split("::");
  const before = groups(head);
  const after = groups(tail ?? "");
  const zeros = new Array<number>(tail === undefined ? 0 : 8 - before.length - after.length);
  const words = [...before, ...zeros.fill(0), ...after];
  return Uint8Array.from(words.flatMap((word) => [word >> 8, word & 0xff]));
}

/** The same address in one spelling alone, so that two texts of it are equal. */
export function canonicalAddress(address: string): string {
  const bytes = addressBytes(address);
  if (bytes.length === 4) return [...bytes].join(".");
  return new URL(`http://[${address}]/`).hostname.slice(1, -1);
}

function groups(text: string): number[] {
  return text === "" ? [] : text.split(":").map((word) => Number.parseInt(word, 16));
}

/** The last four bytes may be written as an IPv4 address. */
function withoutDots(address: string): string {
  const at = address.lastIndexOf(":") + 1;
  const last = address.slice(at);
  if (!isIPv4(last)) return address;
  const [a = 0, b = 0, c = 0, d = 0] = last.split(".").map(Number);
  return `${address.slice(0, at)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}
