import { encodingOf } from "./dataplane/content-encoding.ts";
import type { Route } from "./dataplane/dialects/dialect.ts";
import type { RequestHead } from "./dataplane/exchange.ts";
import type { Missing } from "./decision/facts.ts";

const JSON_TYPE = /^application\/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?$/i;

/** What the head says about the body that makes it unreadable, before a byte of it is read. */
export function bodyHeadersObjection(head: RequestHead, route: Route): Missing | undefined {
  if (route.kind === "models") return undefined;
  if (route.bodyless) return hasBody(head) ? BODY_UNEXPECTED : undefined;
  const encoding = encodingOf(head.rawHeaders);
  if (typeof encoding === "object") return encoding;
  // Small and read in the loop, where nothing is decompressed.
  if (encoding !== undefined && route.kind === "delegate") return COMPRESSED;
  let type: string | undefined;
  for (let i = 0; i + 1 < head.rawHeaders.length; i += 2) {
    const name = (head.rawHeaders[i] as string).toLowerCase();
    const value = head.rawHeaders[i + 1] as string;
    // Two types, like two lengths, would leave two readings.
    if (name === "content-type" && type !== undefined) return { missing: "malformed_http" };
    if (name === "content-type") type = value;
  }
  if (type === undefined || !JSON_TYPE.test(type.trim())) {
    return { missing: "content_type_unsupported" };
  }
  return undefined;
}

const COMPRESSED: Missing = {
  missing: "content_encoding_unsupported",
  detail: "send it uncompressed",
};

const BODY_UNEXPECTED: Missing = { missing: "malformed_request", detail: "no body belongs here" };

function hasBody({ rawHeaders }: RequestHead): boolean {
  return rawHeaders.some((value, i) => {
    const name = i % 2 === 0 ? value.toLowerCase() : "";
    if (name === "transfer-encoding") return true;
    return name === "content-length" && rawHeaders[i + 1] !== "0";
  });
}
