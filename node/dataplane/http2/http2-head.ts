import type { HeadViolation } from "../head-rules.ts";

/** A request's head as HTTP/1.1 would say it, so that one set of rules judges both. */
export type Http2Head = {
  readonly method: string;
  readonly target: string;
  /** Flat name, value, ...; Host first. */
  readonly rawHeaders: readonly string[];
};

/** What a line of HTTP/1.1 takes beside its name and its value. */
const LINE_BYTES = 4;

const PSEUDO: ReadonlySet<string> = new Set([":method", ":scheme", ":authority", ":path"]);

/**
 * Reads the head of a stream. The protocol library has refused header names in capitals, those of one
 * connection, pseudo-headers that are missing or in the wrong place, and lengths that contradict the body.
 *
 * @param rawHeaders Flat name, value, ... as received.
 * @param of.hasBody The head does not end the stream.
 * @see https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1
 */
export function readHttp2Head(
  rawHeaders: readonly string[],
  of: { readonly hasBody: boolean; readonly headBytesMax: number },
): Http2Head | (HeadViolation & Http2Head) {
  const pseudo = new Map<string, string>();
  const headers: string[] = [];
  let host: string | undefined;
  let hosts = 0;
  let hasLength = false;
  let bytes = 0;
  let isOdd = false;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    const value = rawHeaders[i + 1] as string;
    bytes += name.length + value.length + LINE_BYTES;
    if (name.startsWith(":")) {
      isOdd ||= !PSEUDO.has(name) || pseudo.has(name);
      pseudo.set(name, value);
    } else if (name === "host") {
      hosts += 1;
      host = value;
    } else {
      hasLength ||= name === "content-length";
      headers.push(name, value);
    }
  }
  const authority = pseudo.get(":authority") ?? host;
  const head = {
    method: pseudo.get(":method") ?? "",
    target: pseudo.get(":path") ?? "",
    rawHeaders: [
      ...(authority === undefined ? [] : ["host", authority]),
      ...headers,
      // Only its end says how long it is, as with a chunked one.
      ...(of.hasBody && !hasLength ? ["transfer-encoding", "chunked"] : []),
    ],
  };
  const wrong = (reason: HeadViolation["reason"], detail: string) => ({ ...head, reason, detail });
  if (bytes > of.headBytesMax) return wrong("head_too_large", `more than ${of.headBytesMax} bytes`);
  if (isOdd || hosts > 1) return wrong("malformed_http", "pseudo-headers or Host twice");
  if (head.method === "CONNECT") return wrong("method_not_allowed", "CONNECT within TLS");
  if (pseudo.get(":scheme") !== "https") return wrong("malformed_http", "the scheme is not https");
  if (host !== undefined && host.toLowerCase() !== authority?.toLowerCase()) {
    return wrong("misdirected_request", "Host is not :authority");
  }
  return head;
}
