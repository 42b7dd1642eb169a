import { type HeadViolation, isNamed, type ParsedHead } from "../head-rules.ts";

/** What a CONNECT request asks for, not yet judged. */
export type ConnectTarget = { readonly host: string; readonly port: number };

const AUTHORITY = /^([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([1-9][0-9]{0,4})$/;
const PORT_MAX = 65_535;

/**
 * Reads a CONNECT request's head, and refuses what two readers could read in two ways.
 *
 * HTTP/1.0 is taken: Python before 3.12 asks so, without a Host, and what follows is no HTTP message of
 * this connection. A Host that is there must be the target; some clients leave its port out.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-3.2.3
 */
export function readConnect(
  head: ParsedHead,
  { headersMax }: { readonly headersMax: number },
): ConnectTarget | HeadViolation {
  const { rawHeaders, target, httpVersion } = head;
  if (httpVersion !== "1.1" && httpVersion !== "1.0") return malformed("HTTP/1.1 is required");
  const match = AUTHORITY.exec(target);
  const port = Number(match?.[2]);
  if (match === null || port > PORT_MAX) return malformed("the target must be host:port");
  if (rawHeaders.length > 2 * headersMax) {
    return { reason: "head_too_large", detail: `more than ${headersMax} headers` };
  }
  const host = (match[1] as string).toLowerCase();
  let named: string | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    const value = rawHeaders[i + 1] as string;
    if (isNamed(name, "host")) {
      if (named !== undefined) return malformed("more than one Host");
      named = value.toLowerCase();
    } else if (isNamed(name, "transfer-encoding")) {
      return malformed("CONNECT has no body");
    } else if (isNamed(name, "content-length") && value !== "0") {
      return malformed("CONNECT has no body");
    }
  }
  if (named === undefined && httpVersion === "1.1") return malformed("no usable Host");
  if (named !== undefined && named !== host && named !== `${host}:${port}`) {
    return malformed("Host is not the target");
  }
  return { host, port };
}

function malformed(detail: string): HeadViolation {
  return { reason: "malformed_http", detail };
}
