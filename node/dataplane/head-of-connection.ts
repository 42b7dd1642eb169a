import type { Via } from "./exchange.ts";
import {
  type Framing,
  type HeadViolation,
  isNamed,
  isViolation,
  type ParsedHead,
  readHead,
} from "./head-rules.ts";
import type { AbsoluteTarget } from "./tunnel/absolute-target.ts";
import type { ConnectTarget } from "./tunnel/connect-head.ts";

/**
 * The framing of a request that came on a certain connection: what it says of its host must be what the
 * TLS connection, or its own target, is for.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-15.5.20
 */
export function headOfConnection(
  head: ParsedHead,
  of: {
    readonly via: Via | undefined;
    readonly absolute?: AbsoluteTarget | undefined;
    readonly headersMax: number;
    readonly mayUpgrade?: boolean;
  },
): Framing | HeadViolation {
  const { via, absolute, headersMax, mayUpgrade = false } = of;
  const framing = readHead(head, { headersMax, mayUpgrade });
  if (isViolation(framing)) return framing;
  if (via === undefined && absolute === undefined) return framing;
  const named = hostOf(head.rawHeaders)?.toLowerCase();
  if (via !== undefined && !isNamedBy(via, named)) {
    return { reason: "misdirected_request", detail: "Host is not the server name" };
  }
  if (absolute !== undefined && !isNamedBy(absolute.to, named)) {
    return { reason: "malformed_http", detail: "Host is not the target" };
  }
  return framing;
}

/** A port may be left out, and most clients leave out a scheme's own. */
function isNamedBy({ host, port }: ConnectTarget, named: string | undefined): boolean {
  return named === host || named === `${host}:${port}`;
}

function hostOf(rawHeaders: readonly string[]): string | undefined {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (isNamed(rawHeaders[i] as string, "host")) return rawHeaders[i + 1];
  }
  return undefined;
}
