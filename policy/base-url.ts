import { isHostName } from "./hosts.ts";

export const BASE_URL_GRAMMAR =
  'an https URL of a host and perhaps a path, such as "https://api.openai.com" ' +
  "(http only for a loopback address)";

export type BaseUrl = {
  readonly origin: string;
  /** Lower case, without port; an IPv6 address has its brackets. */
  readonly host: string;
  /** Without trailing slash; empty for none. */
  readonly path: string;
};

const PATH = /^(?:\/[A-Za-z0-9._~-]+)*$/;
const IPV4 = /^(?:[0-9]{1,3}\.){3}[0-9]{1,3}$/;
const IPV6 = /^\[[0-9a-f:.]+\]$/;
const LOOPBACK = /^(?:localhost|127\.[0-9.]+|\[::1\])$/;

/**
 * Reads where a provider is. Credentials go there, so a clear-text URL is taken only for a loopback
 * address. A URL that a parser would rewrite (letter case, default port, dot segments) is refused.
 */
export function parseBaseUrl(text: string): BaseUrl | undefined {
  const url = URL.parse(text);
  if (url === null) return undefined;
  const path = url.pathname.replace(/\/$/, "");
  const host = url.hostname;
  if (`${url.origin}${path}` !== text.replace(/\/$/, "") || !PATH.test(path)) return undefined;
  if (!isHostName(host) && !IPV4.test(host) && !IPV6.test(host)) return undefined;
  if (url.protocol !== "https:" && !(url.protocol === "http:" && LOOPBACK.test(host))) {
    return undefined;
  }
  return { origin: url.origin, host, path };
}
