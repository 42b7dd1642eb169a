/** Host names and the grants over them. */

// RFC 1123 labels, with the underscore that some internal zones have.
const LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?";
const HOST = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`);
const ALL_DIGITS = /^[0-9.]+$/;

/** Bytes of a DNS name at most (RFC 1035 §2.3.4, without the root's dot). */
const HOST_BYTES_MAX = 253;

/** A host as grants name it: lower case, no port, no trailing dot, not an address. */
export function isHostName(text: string): boolean {
  if (text.length > HOST_BYTES_MAX || !HOST.test(text)) return false;
  const top = text.slice(text.lastIndexOf(".") + 1);
  // A last label of digits makes resolvers read an address: 127.1, 0x7f.1, 2130706433.
  return !ALL_DIGITS.test(text) && !/^(?:[0-9]+|0x[0-9a-f]*)$/.test(top);
}

/** A host name, or `*.` before one of at least two labels: a whole top-level domain is no grant. */
export function isHostPattern(text: string): boolean {
  if (!text.startsWith("*.")) return isHostName(text);
  const rest = text.slice(2);
  return rest.includes(".") && isHostName(rest);
}

/**
 * True when `host` is granted: named itself, or a subdomain at any depth of a `*.` grant, which
 * does not cover the domain itself.
 *
 * @param host Lower case, without port and without trailing dot. Anything else matches nothing.
 */
export function hostGranted(hosts: readonly string[], host: string): boolean {
  for (const granted of hosts) {
    if (granted === host) return true;
    if (granted.startsWith("*.") && host.endsWith(granted.slice(1)) && isHostName(host))
      return true;
  }
  return false;
}
