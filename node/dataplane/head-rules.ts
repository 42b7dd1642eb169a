import type { Reason } from "../../proto/reasons.ts";

/** What the framing headers say of the body. */
export type Framing = {
  /** Declared length; `undefined` for a chunked body, whose length is known at its end. */
  readonly bodyBytes: number | undefined;
};

export type HeadViolation = { readonly reason: Reason; readonly detail: string };

/** A head of good form: `rawHeaders` is flat name, value, ... as received. */
export type ParsedHead = {
  readonly httpVersion: string;
  readonly target: string;
  readonly rawHeaders: readonly string[];
};

/** Registered names, bracketed addresses and ports; nothing that a second reader could split. */
const HOST_PATTERN = /^(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?$/;
/** Origin form: a path and a query, without a fragment. */
const TARGET_PATTERN = /^\/[!"$-~]*$/;
const LENGTH_PATTERN = /^[0-9]{1,15}$/;

/**
 * Refuses what two HTTP readers could read in two ways, of what is of good form (`http1/request-head.ts`).
 *
 * HTTP/1.0 has no chunks, so a client of it could not tell a cut from an end.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-6.3
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-3.2
 */
export function readHead(
  head: ParsedHead,
  {
    headersMax,
    mayUpgrade = false,
  }: { readonly headersMax: number; readonly mayUpgrade?: boolean },
): Framing | HeadViolation {
  const { rawHeaders } = head;
  if (head.httpVersion !== "1.1") return malformed("HTTP/1.1 is required");
  if (!TARGET_PATTERN.test(head.target)) return malformed("the target must be a path");
  if (rawHeaders.length > 2 * headersMax) {
    return { reason: "head_too_large", detail: `more than ${headersMax} headers` };
  }
  let host: string | undefined;
  let length: string | undefined;
  let coding: string | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    const value = rawHeaders[i + 1] as string;
    // The length of a name decides cheaply that it is none of these four.
    if (name.length === 4 && isNamed(name, "host")) {
      if (host !== undefined) return malformed("more than one Host");
      host = value;
    } else if (name.length === 7 && isNamed(name, "upgrade")) {
      const violation = mayUpgrade ? undefined : readUpgrade(value);
      if (violation) return violation;
    } else if (name.length === 14 && isNamed(name, "content-length")) {
      if (length !== undefined) return malformed("more than one Content-Length");
      length = value;
    } else if (name.length === 17 && isNamed(name, "transfer-encoding")) {
      if (coding !== undefined) return malformed("more than one Transfer-Encoding");
      coding = value;
    }
  }
  if (host === undefined || !HOST_PATTERN.test(host)) return malformed("no usable Host");
  return readFraming(length, coding);
}

export function isViolation(head: object): head is HeadViolation {
  return "reason" in head;
}

function readFraming(length: string | undefined, coding: string | undefined) {
  if (coding !== undefined) {
    if (length !== undefined) return malformed("Content-Length beside Transfer-Encoding");
    if (coding.toLowerCase() !== "chunked") return malformed("Transfer-Encoding is not chunked");
    return { bodyBytes: undefined };
  }
  if (length === undefined) return { bodyBytes: 0 };
  if (!LENGTH_PATTERN.test(length)) return malformed("Content-Length is not a number");
  return { bodyBytes: Number(length) };
}

/**
 * Some HTTP/2 clients offer `h2c` with every first request, which a server may leave unanswered.
 * Whoever asks for another protocol is refused where it is not taken up: content rules could not see
 * what is said in it.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-7.8
 */
function readUpgrade(value: string): HeadViolation | undefined {
  if (value.toLowerCase() === "h2c") return undefined;
  return { reason: "upgrade_refused", detail: "no other protocol is served here" };
}

export function isNamed(name: string, lowerCase: string): boolean {
  return name === lowerCase || name.toLowerCase() === lowerCase;
}

function malformed(detail: string): HeadViolation {
  return { reason: "malformed_http", detail };
}
