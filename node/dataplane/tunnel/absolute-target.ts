import type { HeadViolation } from "../head-rules.ts";
import type { ConnectTarget } from "./connect-head.ts";

/** A request target in absolute form, taken apart: where it goes, and what it asks for there. */
export type AbsoluteTarget = { readonly to: ConnectTarget; readonly path: string };

const ABSOLUTE =
  /^http:\/\/([A-Za-z0-9._-]{1,253})(?::([1-9][0-9]{0,4}))?(\/[!"$-~]*|\?[!"$-~]*)?$/i;
const PORT_MAX = 65_535;
const HTTP_PORT = 80;

/**
 * Reads the target of a request to a forward proxy; `undefined` when it is in origin form.
 *
 * Plain HTTP alone comes so: what goes over TLS asks for a tunnel. A user in the target, an address in
 * brackets and a fragment are refused with all else that two readers could take apart in two ways.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
 */
export function readAbsolute(target: string): AbsoluteTarget | HeadViolation | undefined {
  if (target.startsWith("/")) return undefined;
  const match = ABSOLUTE.exec(target);
  const port = Number(match?.[2] ?? HTTP_PORT);
  if (match === null || port > PORT_MAX) {
    return { reason: "malformed_http", detail: "the target must be a path or http://host/path" };
  }
  const [, host = "", , rest = ""] = match;
  const path = rest.startsWith("/") ? rest : `/${rest}`;
  return { to: { host: host.toLowerCase(), port }, path };
}
