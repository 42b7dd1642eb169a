import { hash } from "node:crypto";
import type { Missing } from "../../decision/facts.ts";

/** RFC 6455, section 1.3. */
const ACCEPT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const VERSION = "13";
/** Sixteen bytes in base64. */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/;
/** What OpenAI's clients ask for; browsers' put their key beside it, which is no place for one of ours. */
const PROTOCOL = "realtime";

/** What is said of a handshake, by header in lower case. */
type HandshakeHeaders = ReadonlyMap<string, string>;

/**
 * Why a client's handshake cannot be passed on.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6455#section-4.1
 */
export function handshakeObjection(rawHeaders: readonly string[]): Missing | undefined {
  const said = handshakeOf(rawHeaders);
  if (said === undefined) return malformed("a handshake's header twice");
  if (said.get("sec-websocket-version") !== VERSION) return malformed("sec-websocket-version");
  if (!KEY.test(said.get("sec-websocket-key") ?? "")) return malformed("sec-websocket-key");
  const protocol = said.get("sec-websocket-protocol");
  return protocol === undefined || protocol === PROTOCOL
    ? undefined
    : malformed("sec-websocket-protocol");
}

/**
 * The headers of the answer, where the far side has agreed to just this handshake; undefined otherwise.
 *
 * @param asked Headers of the request that went to the far side.
 */
export function agreedHeaders(
  asked: readonly string[],
  answered: Readonly<Record<string, string | string[] | undefined>>,
): readonly string[] | undefined {
  const said = handshakeOf(asked);
  const accept = hash("sha1", `${said?.get("sec-websocket-key")}${ACCEPT}`, "base64");
  if (answered["sec-websocket-accept"] !== accept) return undefined;
  if (String(answered.upgrade).toLowerCase() !== "websocket") return undefined;
  // Nothing else was asked for, so nothing else may be spoken.
  if (answered["sec-websocket-extensions"] !== undefined) return undefined;
  const protocol = answered["sec-websocket-protocol"];
  if (protocol !== undefined && protocol !== said?.get("sec-websocket-protocol")) return undefined;
  const headers = ["upgrade", "websocket", "connection", "upgrade"];
  headers.push("sec-websocket-accept", accept);
  if (protocol !== undefined) headers.push("sec-websocket-protocol", PROTOCOL);
  return headers;
}

/** Undefined: one of them comes twice. */
function handshakeOf(rawHeaders: readonly string[]): HandshakeHeaders | undefined {
  const said = new Map<string, string>();
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    if (!name.startsWith("sec-websocket-")) continue;
    if (said.has(name)) return undefined;
    said.set(name, (rawHeaders[i + 1] as string).trim());
  }
  return said;
}

function malformed(detail: string): Missing {
  return { missing: "malformed_request", detail };
}
