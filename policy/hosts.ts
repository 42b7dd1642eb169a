/** Host names and the grants over them. */

// RFC 1123 labels, with the underscore that some internal zones have.
const LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?";
const HOST = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`);
const ALL_DIGITS = /^[0-9.]+$/;

const PORT_MAX = 65_535;
/** What a grant without a port is good for: HTTPS and HTTP. */
const PORTS_BY_DEFAULT: readonly number[] = [443, 80];

/** Bytes of a DNS name at most (RFC 1035 §2.3.4, without the root's dot). */
const HOST_BYTES_MAX = 253;

/** A host as grants name it: lower case, no port, no trailing dot, not an address. */
export function isHostName(text: string): boolean {
  if (text.length > HOST_BYTES_MAX || !HOST.test(text)) return false;
  const top = text.slice(text.lastIndexOf(".") + 1);
  // A last label of digits makes resolvers read an address: 127.1, 0x7f.1, 2130706433.
  return !ALL_DIGITS.test(text) && !/^(?:[0-9]+|0x[0-9a-f]*)$/.test(top);
}

/**
 * A host name, or `*.` before one of at least two labels: a whole top-level domain is no grant. A port
 * may follow.
 */
export function isHostPattern(text: string): boolean {
  const { host, port } = splitPort(text);
  if (port !== undefined && (port < 1 || port > PORT_MAX)) return false;
  if (!host.startsWith("*.")) return isHostName(host);
  const rest = host.slice(2);
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

/**
 * True when a connection to this host and port is granted. A grant that names no port is one of 443
 * and 80; a grant that names one is of that port alone.
 */
export function destinationGranted(hosts: readonly string[], host: string, port: number): boolean {
  return hosts.some((granted) => {
    const { host: pattern, port: only } = splitPort(granted);
    const isPort = only === undefined ? PORTS_BY_DEFAULT.includes(port) : only === port;
    return isPort && isHostName(host) && hostGranted([pattern], host);
  });
}

/** True when a connection to this host is granted on any port at all. */
export function nameGranted(hosts: readonly string[], host: string): boolean {
  return isHostName(host) && hosts.some((granted) => hostGranted([splitPort(granted).host], host));
}

function splitPort(text: string): { readonly host: string; readonly port: number | undefined } {
  const match = /^(.*):([1-9][0-9]{0,4})$/.exec(text);
  if (match === null) return { host: text, port: undefined };
  return { host: match[1] as string, port: Number(match[2]) };
}
