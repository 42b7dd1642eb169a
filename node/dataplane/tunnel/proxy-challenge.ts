import type { Answer } from "../exchange.ts";

const BAD_STATUS = 401;
const PROXY_STATUS = 407;

/** What is no credential for a proxy is told so, and how to send one. */
export function forProxy(answer: Answer): Answer {
  if (answer.status !== BAD_STATUS) return answer;
  const challenge = ["proxy-authenticate", 'Basic realm="altrace"'];
  return { ...answer, status: PROXY_STATUS, headers: [...answer.headers, ...challenge] };
}

/**
 * The same for a request in absolute form. One that brings a credential of its own may be refused for
 * that one, so it is asked for one for the proxy only where it has none: clients end on a 407.
 */
export function forProxied(answer: Answer, rawHeaders: readonly string[]): Answer {
  const names = new Set(rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase()));
  const isOwn = names.has("proxy-authorization") && OWN.some((name) => names.has(name));
  return isOwn ? answer : forProxy(answer);
}

const OWN = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];
